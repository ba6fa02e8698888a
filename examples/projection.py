"""A denoiser is a projection: un-diffusing is gradient descent on the distance to the data.

    dist^2_sigma(x) = -2 sigma^2 log sum_i exp(-|x - x_i|^2/(2 sigma^2)),    x - E[x_0 | x] = 1/2 grad dist^2_sigma(x)

is the squared distance to the data with a soft minimum. Its level lines (orange) are round where sigma is large and hug
the data where it is small; half its gradient, downhill, is the ideal denoiser's step (arrows). Were the minimum a hard
one, denoising would be projecting onto the nearest point. The last panel shows how far from it a denoiser is, at noised
data x = x_0 + sigma z:

    |E[x_0 | x] - proj(x)|/dist(x)        (Permenter and Yuan 2023, definition 3.1; their theory wants it below 1)

Median and quartiles. In the plane, noise carries a point past its neighbours, and the view fails in the middle. Among
the 64 pixels of digits, noise goes where no other digit is, and it holds at every level; for a network, too, which in
little noise errs more than the ideal denoiser, because it has not learnt single training points by heart.
"""

from pathlib import Path

import torch
from gallery import GALLERY, fit, keep, time_of
from torch import Tensor

from undiffuse.condition.encoder import Encoder
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.data.readers.digits import digits
from undiffuse.data.synthetic.toys import spiral
from undiffuse.denoiser.gaussian import Denoise, Denoiser
from undiffuse.denoiser.prediction import EDMPrediction
from undiffuse.draw.field import draw_field, plane
from undiffuse.draw.style import COLOURS, FAINT, INK, MADE, QUIET, panels, styled
from undiffuse.exact import Empirical
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogNormal
from undiffuse.loss.weight import EDMWeight
from undiffuse.net import MLP
from undiffuse.process import Affine, LogLinear
from undiffuse.theory.projection import projection_error, smooth_squared_distance

PROCESS = Affine(LogLinear(0.005, 10.0))  # x_t = x_0 + sigma z


@styled
def main(out: Path = GALLERY, count: int = 200, steps: int = 1000, levels: int = 25) -> None:
    data = spiral(count, torch.Generator().manual_seed(0))
    pictures = digits().x.flatten(1) / 127.5 - 1
    ideal = Empirical(PROCESS, data)
    figure, (far, near, error) = panels(3, size=(2.9, 3.1))
    frame = ((-1.6, 1.6), (-1.6, 1.6))
    for axes, sigma in ((far, 0.5), (near, 0.1)):
        draw_field(axes, lambda x, sigma=sigma: ideal(x, time_of(PROCESS, sigma)) - x, frame, arrows=17)
        lattice = plane(frame, 150)
        square = smooth_squared_distance(lattice, data, sigma).view(150, 150)
        lines = (0.01 + float(square.min())) + (0.14 * torch.arange(20)) ** 2
        axes.contour(
            *lattice.T.view(2, 150, 150), square, lines.tolist(), colors=COLOURS[3], linestyles="solid", linewidths=0.7
        )
        axes.scatter(*data.T, s=5, color=INK, linewidths=0, zorder=4)
        axes.set_title(f"distance², σ = {sigma}")

    sigmas = torch.logspace(-2, 1, levels)
    curves = {
        "ideal, spiral": (ideal, data, QUIET),
        "ideal, digits": (Empirical(PROCESS, pictures), pictures, INK),
        "network, digits": (train(pictures, steps), pictures, MADE),
    }
    for name, (denoise, rows, ink) in curves.items():
        low, middle, high = torch.stack([quartiles(denoise, rows, float(sigma)) for sigma in sigmas]).T
        error.fill_between(sigmas, low, high, color=ink, alpha=0.15, linewidth=0)
        error.plot(sigmas, middle, color=ink, label=name)
        print(f"{name}: median error at most {middle.max():.2f}, at σ = {sigmas[middle.argmax()]:.2g}")
    error.axhline(1, color=FAINT, zorder=0)
    error.set(xscale="log", yscale="log", xlabel="σ", title="error of projection", ylim=(0.02, 9))
    error.yaxis.set_major_formatter("{x:g}")
    error.xaxis.set_major_formatter("{x:g}")
    error.legend()
    keep(figure, out / "projection.png")


def train(data: Tensor, steps: int) -> Denoiser:
    torch.manual_seed(0)
    design = MLP(width=128)
    encoder = Encoder({}, design.vector)
    denoiser = Denoiser(design.build(data.shape[1:], encoder.widths), PROCESS, EDMPrediction(), encoder=encoder)
    loss, noise = Denoising(LogNormal(), EDMWeight()), Stream()
    fit(denoiser, lambda x: loss(denoiser, x, noise), data, steps)
    return denoiser


@torch.no_grad()
def quartiles(denoise: Denoise, data: Tensor, sigma: float) -> Tensor:
    """Of the error of projection over noised data, (3,)."""
    t = time_of(PROCESS, sigma)
    x = PROCESS.corrupt(data[torch.randint(len(data), (2000,))], t, SeededNoise(1))
    return projection_error(PROCESS, denoise, x, t, data).quantile(torch.tensor([0.25, 0.5, 0.75]))


if __name__ == "__main__":
    main()
