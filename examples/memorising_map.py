"""The map that memorises: every training point a small mass, and noise falls to one of them.

For data x_1 ... x_n the ideal denoiser is their average, weighted by how near they are to x = x_t/alpha:

    E[x_0 | x] = sum_i w_i x_i,        w_i ~ exp(-|x - x_i|^2/(2 sigma^2))

and E[x_0 | x] - x is a pull, the gravity of the training set. From far away in noise (sigma large) all masses are felt
as one, at their centre; near the data (sigma small) only the nearest is. Following the pull as sigma falls takes noise
to training points and to nothing else: a network that fitted its data perfectly would have learnt this map.

The last panel colours noise z = x/sigma by where it falls. The cells are not those of the nearest point: crowded points
push each other's cells away, for each must get its share of the noise, 1/n, wherever it lies. That checks the map.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep, time_of
from matplotlib.colors import ListedColormap

from undiffuse.draw.field import draw_field, plane
from undiffuse.draw.style import COLOURS, INK, PAPER, panels, styled
from undiffuse.exact import Empirical
from undiffuse.process import EDM, Affine
from undiffuse.theory.projection import memorising_map

PROCESS = Affine(EDM())  # alpha = 1: x_t = x_0 + sigma z
DATA = torch.tensor(
    [[-1.7, 1.3], [1.6, 1.6], [1.9, -1.2], [-0.5, -0.3], [-0.1, 0.1], [-0.2, -0.9], [0.5, -0.5], [-1.9, -1.7]]
)
NOISE = 40.0  # sigma where there is nothing but noise


@styled
def main(out: Path = GALLERY, side: int = 200, steps: int = 200) -> None:
    ideal, frame = Empirical(PROCESS, DATA), ((-3.2, 3.2), (-3.2, 3.2))
    figure, (far, near, cells) = panels(3, size=(2.9, 3.1))
    for axes, sigma in ((far, 1.5), (near, 0.4)):
        draw_field(axes, lambda x, sigma=sigma: ideal(x, time_of(PROCESS, sigma)) - x, frame, arrows=19)
        axes.scatter(*DATA.T, c=COLOURS, s=40, zorder=4, edgecolors=PAPER)
        axes.set_title(f"the pull at σ = {sigma}")

    z = plane(frame, side)
    end = memorising_map(PROCESS, DATA, NOISE * z, time_of(PROCESS, NOISE), steps).end
    distance, falls = torch.cdist(end, DATA).min(1)
    cells.imshow(
        falls.view(side, side), origin="lower", extent=(*frame[0], *frame[1]), cmap=ListedColormap(COLOURS), alpha=0.5
    )
    cells.scatter(*DATA.T, c=COLOURS, s=40, zorder=4, edgecolors=INK)
    cells.set_title("where noise z falls")

    mass = (-0.5 * z.square().sum(1)).exp()  # of N(0, I) at the lattice's points
    shares = torch.zeros(len(DATA)).index_add(0, falls, mass) / mass.sum()
    nearest = torch.cdist(z, DATA).argmin(1)
    print(f"farthest end from a training point: {distance.max():.1e}")
    print(
        f"shares of the noise: {shares.min():.3f} to {shares.max():.3f}; each should be 1/{len(DATA)} = {1 / len(DATA)}"
    )
    print(f"noise that falls to the point that is nearest to z: {mass[falls == nearest].sum() / mass.sum():.0%}")
    keep(figure, out / "memorising_map.png")


if __name__ == "__main__":
    main()
