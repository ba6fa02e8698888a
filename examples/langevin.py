"""Langevin dynamics: a random walk up the log-density samples it, and its step leaves a bias.

    x' = x + a grad log p(x) + sqrt(2a) w,    w ~ N(0, I)

p need not be normalised. Unadjusted, the walk settles at a law that is only near p: for a Gaussian of variance s^2, at
s^2/(1 - a/(2 s^2)), however long it runs. Metropolis and Hastings correct that: a move is taken with probability
min(1, p(x') q(x | x')/(p(x) q(x' | x))), else the walker stays, and the law is p exactly, for any step a.

Left, the density and two histograms of walkers at one large step: unadjusted, the peaks are worn down and the valleys
filled. Right, the error over the step a, as the total variation between histogram and p (0 to 1), beside its floor: as
many independent draws of p. Adjusted walkers are at the floor; only steps so small that the walk is not over fail both.
"""

from itertools import islice
from pathlib import Path

import torch
from gallery import GALLERY, keep
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.data.synthetic.densities import Bumps
from undiffuse.draw.style import COLOURS, FAINT, MADE, QUIET, panels, styled
from undiffuse.theory.langevin import Walker, langevin

P = Bumps(weights=(0.5, 0.3, 0.2), means=(-1.2, 0.6, 2.0), stds=(0.5, 0.35, 0.5))
EDGES = torch.linspace(-4, 5, 91)
SHOWN = 0.2  # the step of the histograms
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, SHOWN, 0.4)
KINDS = (("unadjusted", False, COLOURS[1]), ("adjusted", True, MADE))


@styled
def main(out: Path = GALLERY, count: int = 10000, steps: int = 600) -> None:
    figure, (densities, errors) = panels(2, size=(4.2, 3.4))
    x = torch.linspace(-4, 5, 500)
    densities.fill_between(x, P.log_density(x[:, None]).exp(), color=FAINT)
    floor = [total_variation(P(count, torch.Generator().manual_seed(seed))) for seed in range(20)]
    print(f"exact draws: variance {P(10**6, torch.Generator().manual_seed(0)).var():.2f}")
    for name, adjusted, ink in KINDS:
        ends = {size: walk(count, steps, size, adjusted) for size in SIZES}
        errors.plot(SIZES, [total_variation(end.x) for end in ends.values()], color=ink, marker="o", markersize=4)
        shown = ends[SHOWN]
        density = torch.histogram(shown.x[:, 0], EDGES, density=True).hist
        densities.stairs(density, EDGES, color=ink, linewidth=1.2, label=f"{name}, a = {SHOWN}")
        print(
            f"{name}, a = {SHOWN}: variance {shown.x.var():.2f}, total variation {total_variation(shown.x):.3f}, "
            f"{shown.moved.float().mean():.0%} of moves taken"
        )
    densities.legend(loc="upper right")
    densities.set(title=f"p, and where {count:,} walkers are", xlabel="x", ylim=(0, 0.46), yticks=[])
    errors.axhspan(min(floor), max(floor), color=FAINT)
    errors.text(SIZES[0], 1.05 * min(floor), "exact draws", color=QUIET)
    errors.set(xscale="log", yscale="log", ylim=(0.015, 0.4), xlabel="step a", title=f"error after {steps} steps")
    errors.yaxis.set_major_locator(FixedLocator([0.02, 0.05, 0.1, 0.2]))
    errors.yaxis.set_major_formatter("{x:g}")
    errors.yaxis.set_minor_locator(NullLocator())
    errors.xaxis.set_major_formatter("{x:g}")
    print(f"total variation of exact draws: {min(floor):.3f} to {max(floor):.3f}")
    keep(figure, out / "langevin.png")


def walk(count: int, steps: int, size: float, adjusted: bool) -> Walker:
    """Walkers after so many steps, (count, 1), from N(0, 9)."""
    noise = SeededNoise(0)
    start = 3 * noise.normal(torch.empty(count, 1))
    return next(islice(langevin(P.log_density, start, size, noise, adjusted), steps, None))


def total_variation(x: Tensor) -> float:
    """Half the sum of |histogram - probability of the bin|."""
    low, middle, high = EDGES[:-1], (EDGES[:-1] + EDGES[1:]) / 2, EDGES[1:]
    at_low, at_middle, at_high = (P.log_density(at[:, None]).exp() for at in (low, middle, high))
    probability = (at_low + 4 * at_middle + at_high) / 6 * (high - low)  # Simpson's rule
    return float((torch.histogram(x[:, 0], EDGES).hist / len(x) - probability).abs().sum()) / 2


if __name__ == "__main__":
    main()
