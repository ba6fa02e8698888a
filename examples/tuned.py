"""A tuned sampler beside fixed ones, at few evaluations of an exact denoiser.

A deterministic sampler is a table of numbers: when it evaluates the denoiser, and how it combines the answers. The
tuned one has the numbers that bring the ends of 256 noises nearest to where the probability flow takes them
(`undiffuse.sampling.tuned`); 128 others chose when to stop.

Left, how far samples end from where the flow takes them, the median of 1,000 noises that neither fitted nor chose.
Right, the noise levels at which each evaluates the denoiser.
"""

from pathlib import Path

import torch
from gallery import GALLERY, keep
from matplotlib.ticker import FixedLocator, NullLocator

from undiffuse.data.synthetic.toys import swiss_roll
from undiffuse.draw.style import COLOURS, MADE, QUIET, panels, styled
from undiffuse.exact import GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.sampling.tuned.problem import Problem
from undiffuse.sampling.tuned.tune import fixed, tune

PROCESS = Affine(Linear())
FIXED = {"ddim": COLOURS[1], "gradient-estimation": COLOURS[2], "unipc": QUIET}
COSTS = (3, 4, 5, 6, 8, 10)  # evaluations


@styled
def main(out: Path = GALLERY, count: int = 1000, costs: tuple[int, ...] = COSTS) -> None:
    data = swiss_roll(3000, torch.Generator().manual_seed(0)).double()
    data = (data - data.mean(0)) / data.std()
    denoise = GaussianMixture.fit(PROCESS, data, components=12)
    sizes, firsts = (256, 128, count), (0, 256, 384)
    fit, choose, unseen = (
        Problem.draw(PROCESS, denoise, torch.empty(size, 2, dtype=torch.float64), 0, first)
        for size, first in zip(sizes, firsts, strict=True)
    )
    errors: dict[str, list[float]] = {name: [] for name in (*FIXED, "tuned")}
    figure, (left, right) = panels(2, size=(3.9, 3.2))
    for cost in costs:
        starts = fixed(PROCESS, cost)
        *_, found = tune(fit, choose, min(starts.values(), key=lambda start: choose.error(start.tableau)))
        tableaus = {name: starts[name].tableau for name in FIXED} | {"tuned": found.tableau}
        for (name, tableau), ink in zip(tableaus.items(), (*FIXED.values(), MADE), strict=True):
            errors[name].append(unseen.error(tableau))
            if name in ("unipc", "tuned"):
                points = map(PROCESS.schedule.at, tableau.times)
                height = cost * (1.03 if name == "tuned" else 0.97)
                right.plot([p.sigma / p.alpha for p in points], [height] * cost, "o", color=ink, markersize=4)
    for (name, each), ink in zip(errors.items(), (*FIXED.values(), MADE), strict=True):
        left.plot(costs, each, color=ink, marker="o", markersize=4, label=name)
        print(f"{name:<20}", "  ".join(f"{cost}: {error:.4f}" for cost, error in zip(costs, each, strict=True)))
    left.set(xscale="log", yscale="log", xlabel="evaluations", title="error at the end")
    left.legend(frameon=False, fontsize=8)
    right.set(xscale="log", yscale="log", xlabel="noise level", ylabel="evaluations", title="when it asks")
    for axis in (left.xaxis, right.yaxis):
        axis.set_major_locator(FixedLocator(costs))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    left.yaxis.set_major_formatter("{x:g}")
    right.xaxis.set_major_formatter("{x:g}")
    keep(figure, out / "tuned.png")


if __name__ == "__main__":
    main()
