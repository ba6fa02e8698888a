"""Why noise is needed: a score learnt from data alone knows nothing where there is no data.

Score matching fits s(x) to grad log p(x) *on average over p*: between two Gaussians, where no data ever was, any field
will do (upper row). Walkers of Langevin dynamics start there, and must pass there. And even the true score does not
tell a walker in one mode how heavy the other is: modes end up as heavy as the region from which walkers fall into them.

Annealed: fit s(x, sigma) to grad log p_sigma(x), p_sigma the data with noise of every size. In much noise the modes are
one, and data is everywhere. Walk at a large sigma until in equilibrium, lower it, repeat, and walkers are shared out
while they can still cross (Song and Ermon 2019, sections 3 and 4; their two Gaussians weigh 1/5 and 4/5, too).
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from gallery import GALLERY, fit, keep
from matplotlib.axes import Axes
from torch import Tensor, nn

from undiffuse.condition.encoder import Encoder
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.draw.field import draw_field, plane
from undiffuse.draw.style import COLOURS, DATA, MADE, panels, styled
from undiffuse.exact import GaussianMixture
from undiffuse.loss.score_matching import Implicit, annealed
from undiffuse.net import MLP
from undiffuse.process import Affine, LogLinear
from undiffuse.sampling import grid
from undiffuse.sampling.loop import sample
from undiffuse.step.annealed_langevin import AnnealedLangevin

LOW, HIGH = 0.1, 20.0  # sigma
PROCESS = Affine(LogLinear(LOW, HIGH))
MEANS, WEIGHTS = torch.tensor([[-4.0, -4.0], [4.0, 4.0]]), torch.tensor([0.2, 0.8])
TRUTH = GaussianMixture.isotropic(PROCESS, MEANS, 1.0, WEIGHTS)
FRAME = ((-8.0, 8.0), (-8.0, 8.0))

Score = Callable[[Tensor], Tensor]


@styled
def main(out: Path = GALLERY, count: int = 4000, steps: int = 1500, walk: int = 1000, levels: int = 24) -> None:
    torch.manual_seed(0)
    data = TRUTH.sample(20000, SeededNoise(0))
    naive, noised = train_naive(data, steps), train_annealed(data, steps)
    start = 16 * SeededNoise(1).uniform(torch.empty(count, 2)) - 8  # anywhere in the frame
    step, times = AnnealedLangevin(PROCESS, repeats=30), grid.LogLinearGrid(LOW, HIGH)(PROCESS.schedule, levels)
    clouds = {
        "data": data[:count],
        "naive Langevin": langevin(naive, start, walk),
        "annealed Langevin": sample(PROCESS, step, noised, start, times),
    }
    for name, x in (clouds | {"naive, with the true score": langevin(true_score, start, walk)}).items():
        print(f"{name:<28} {heavy(x):.0%} in the heavy mode (truth {WEIGHTS[1]:.0%})")

    figure, every = panels(3, 2, size=(2.8, 2.95))
    for axes, title, score in ((every[0], "the true score", true_score), (every[1], "learnt from data alone", naive)):
        draw_field(axes, score, FRAME, arrows=17, log_density=TRUTH.log_density)
        axes.set_title(title)
    draw_error(every[2], naive)
    for axes, (name, x), ink in zip(every[3:], clouds.items(), (DATA, COLOURS[1], MADE), strict=True):
        axes.scatter(*x.T, s=1.5, color=ink, alpha=0.4, linewidths=0)
        axes.set(title=name, xlim=FRAME[0], ylim=FRAME[1], aspect="equal")
        axes.text(-0.6, -4, f"{1 - heavy(x):.0%}", fontsize=12, va="center")
        axes.text(0.6, 4, f"{heavy(x):.0%}", fontsize=12, va="center", ha="right")
    keep(figure, out / "score_matching.png")


def train_naive(data: Tensor, steps: int) -> Score:
    net = nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))
    noise = Stream()
    fit(net, lambda x: Implicit()(net, x, noise), data, steps, batch=512)
    return net


def train_annealed(data: Tensor, steps: int) -> Callable[[Tensor, float], Tensor]:
    """The denoiser of a score network, by Tweedie: E[x_0 | x_t] = x_t + sigma^2 s(x_t, sigma)."""
    design, spread, noise = MLP(), data.std(), Stream()
    encoder = Encoder({}, design.vector)
    net = design.build((2,), encoder.widths)
    sigmas = torch.logspace(math.log10(LOW), math.log10(HIGH), 40)

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return net(x / (sigma**2 + spread**2).sqrt()[:, None], encoder(-2 * sigma.log())) / sigma[:, None]

    def denoise(x_t: Tensor, t: float) -> Tensor:
        sigma = PROCESS.schedule.at(t).sigma
        return x_t + sigma**2 * score(x_t, torch.full((len(x_t),), sigma))

    fit(nn.ModuleList([encoder, net]), lambda x: annealed(score, x, sigmas, noise), data, steps, batch=512)
    return denoise


@torch.no_grad()
def langevin(score: Score, x: Tensor, steps: int, size: float = 0.05) -> Tensor:
    noise = SeededNoise(2)
    for _ in range(steps):
        x = x + size * score(x) + (2 * size) ** 0.5 * noise.normal(x)
    return x


@torch.no_grad()
def draw_error(axes: Axes, score: Score, side: int = 200) -> None:
    x = plane(FRAME, side)
    error = ((score(x) - true_score(x)).norm(dim=1) / true_score(x).norm(dim=1)).view(side, side)
    density = TRUTH.log_density(x).view(side, side)
    shades = axes.imshow(error, origin="lower", extent=(*FRAME[0], *FRAME[1]), cmap="Reds", vmin=0, vmax=1)
    axes.contour(*x.T.view(2, side, side), density, [-8, -5, -3], colors=DATA, linewidths=0.7)
    axes.set_title("its relative error")
    axes.figure.colorbar(shades, cax=axes.inset_axes([0.3, 0.92, 0.25, 0.035]), orientation="horizontal", ticks=[0, 1])


def true_score(x: Tensor) -> Tensor:
    return TRUTH.score(x, 0.0)


def heavy(x: Tensor) -> float:
    """The share of points on the heavy mode's side."""
    return float((x.sum(1) > 0).float().mean())


if __name__ == "__main__":
    main()
