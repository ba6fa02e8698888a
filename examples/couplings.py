"""Which point goes to which: three couplings of one batch of eight Gaussians with one of two moons.

A flow or a bridge learns from pairs (x_0, x_1). Independent pairs (flow matching, alpha-deblending) cross each other,
and where they cross a network says their mean, so that its paths bend. The pairs of least cost, an exact optimal
transport plan of the batch, do not cross. Those of the entropic plan lie between, as the sigma of a Brownian motion has
it: together with its bridges they are the Schroedinger bridge of the batch.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep
from matplotlib.collections import LineCollection

from undiffuse.codec import Normalise
from undiffuse.core.noise import SeededNoise
from undiffuse.data.ready import Toy
from undiffuse.draw.style import FAINT, MADE, QUIET, panels, styled
from undiffuse.loss.coupling import AsGiven, Coupling, Entropic, OptimalTransport

COUPLINGS: dict[str, Coupling] = {
    "independent": AsGiven(),
    "entropic, sigma 0.5": Entropic(0.5),
    "optimal transport": OptimalTransport(),
}


@styled
def main(folder: Path = GALLERY, count: int = 256) -> None:
    moons, gaussians = Toy("moons", count, seed=1).open(), Toy("eight-gaussians", count, seed=2).open()
    x_0, x_1 = (Normalise.measure(data).encode(data.x) for data in (moons, gaussians))
    figure, axes = panels(3, size=(3.4, 3.4))
    for axis, (name, coupling) in zip(axes, COUPLINGS.items(), strict=True):
        partners = x_1[coupling(x_0, x_1, SeededNoise(0))]
        cost = float((x_0 - partners).square().sum(1).mean())
        axis.add_collection(LineCollection(torch.stack([x_0, partners], 1).tolist(), colors=FAINT, linewidths=0.6))
        axis.scatter(*x_1.T.tolist(), s=5, color=QUIET, linewidths=0)
        axis.scatter(*x_0.T.tolist(), s=5, color=MADE, linewidths=0)
        axis.set_title(f"{name}: {cost:.2f}")
        axis.set_aspect("equal")
        axis.set_axis_off()
        print(f"{name}: mean squared distance {cost:.3f}")
    keep(figure, folder / "couplings.png")


if __name__ == "__main__":
    main()
