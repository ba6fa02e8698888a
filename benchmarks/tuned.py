"""A tuned sampler beside every library's best fixed one: python -m benchmarks.tuned [--side 28] [--noises 16]

The problems are exact: mixtures fitted to MNIST and to Fashion-MNIST, as in `benchmarks.mixture`, of 14 x 14 pixels
(196 dimensions) or with --side 28 of 28 x 28 (784), with DDPM's linear schedule, in float32. Errors are medians over
samples of the root mean square difference from the flow's end by 100 steps of UniPC; how far 200 steps end from there
is printed.

The tuned sampler is fitted to the problem's own noises; half as many choose among its rounds. All errors are on 48
other noises, in 3 lots: their median, the least and the greatest. What is fixed is chosen on the other problem: of each
library the configuration that errs least there. The last row is the sampler that was tuned to the other problem.

Data: UNDIFFUSE_TEST_DATA with mnist/ and fashion_mnist/.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmarks import mixture
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.sampling.tuned.problem import Problem, solution
from undiffuse.sampling.tuned.tableau import Tableau
from undiffuse.sampling.tuned.tune import fixed, tune

LIBRARIES: dict[str, mixture.Library] = {
    "undiffuse": mixture.undiffuse,
    "diffusers": mixture.diffusers,
    "k-diffusion": mixture.k_diffusion,
}
NAMES = ("MNIST", "Fashion-MNIST")
SEEDS, SAMPLES = 3, 16
CHOOSING = 8  # samples, on which a library's configuration is chosen


class Lots(NamedTuple):
    """Noises to fit, to choose and to report."""

    fit: Problem
    choose: Problem
    unseen: Problem


def draw(name: str, side: int, noises: int) -> Lots:
    """Noises of the mixture fitted to pictures of so many pixels a side, with the exact denoiser in float32."""
    data = f"{name} {side}"
    mixture.DATA[data] = lambda: avg_pool2d(mixture.well_known(name.lower()), 28 // side)
    process = Affine(Linear())
    denoise = GaussianMixture(process, *(part.float() for part in mixture.fit(data)))
    sizes, firsts = (noises, noises - noises // 2, SEEDS * SAMPLES), (0, noises, 2 * noises)
    blanks = (torch.empty(size, *denoise.means.shape[1:]) for size in sizes)
    lots = Lots(*(Problem.draw(process, denoise, like, 0, first) for like, first in zip(blanks, firsts, strict=True)))
    finer = solution(process, denoise, lots.fit.z, 200)
    print(f"{name}: 100 and 200 steps differ by {mixture.errors(lots.fit.truth, finer)[0]:.0e}", flush=True)
    return lots


def tuned(lots: Lots, evaluations: int) -> Tableau:
    """All numbers of the best fixed sampler."""
    starts = fixed(lots.fit.process, evaluations)
    name = min(starts, key=lambda one: lots.choose.error(starts[one].tableau))
    began = time.process_time()
    rounds = list(tune(lots.fit, lots.choose, starts[name]))
    print(f"    from {name}, {len(rounds) - 1} rounds, {time.process_time() - began:.0f} s of a core")
    return rounds[-1].tableau


def grid_alone(lots: Lots, evaluations: int) -> Tableau:
    """UniPC on the best grid for it."""
    *_, found = tune(lots.fit, lots.choose, fixed(lots.fit.process, evaluations)["unipc"], grid_alone=True)
    return found.tableau


def chosen(library: mixture.Library, other: Lots, lots: Lots, evaluations: int) -> tuple[str, Callable[[], Tensor]]:
    """The configuration that errs least on the other problem."""

    def posed(problem: Problem, count: int) -> mixture.Problem:
        assert isinstance(problem.denoise, GaussianMixture)
        return mixture.Problem(problem.process, problem.denoise, problem.z[:count], problem.truth[:count])

    name = mixture.ranked(library, [posed(other.fit, CHOOSING)], evaluations)[0].name
    return name, dict(library(posed(lots.unseen, SEEDS * SAMPLES), evaluations))[name]


def show(name: str, evaluations: int, label: str, run: Callable[[], Tensor], lots: Lots, note: str = "") -> None:
    """The median of the lots' errors, and the least and the greatest."""
    each = sorted(mixture.errors(run(), lots.unseen.truth, SEEDS))
    spread = f"{statistics.median(each):.5f} ({each[0]:.5f} to {each[-1]:.5f})"
    print(f"{name:14}{evaluations:4}  {label:22} {spread}  {note}", flush=True)


def compare(names: Iterable[str], side: int, noises: int, budgets: Iterable[int]) -> None:
    """All rows; those of what is chosen on, or tuned to, the other problem where there are both."""
    lots = {name: draw(name, side, noises) for name in names}
    tableaus = {}
    for name, budget in product(lots, budgets):
        tableaus[name, budget] = tuned(lots[name], budget)
        show(name, budget, "tuned", partial(lots[name].unseen.end, tableaus[name, budget]), lots[name])
        for start in ("unipc", "gradient-estimation", "adams-bashforth"):
            end = partial(lots[name].unseen.end, fixed(lots[name].fit.process, budget)[start].tableau)
            show(name, budget, start, end, lots[name])
    for (name, other), budget in product(((one, two) for one, two in product(lots, lots) if one != two), budgets):
        mine, theirs = lots[name], lots[other]
        for label, library in LIBRARIES.items():
            configuration, run = chosen(library, theirs, mine, budget)
            show(name, budget, label, run, mine, configuration)
        show(name, budget, "UniPC, its grid tuned", partial(mine.unseen.end, grid_alone(mine, budget)), mine)
        show(name, budget, f"tuned to {other}", partial(mine.unseen.end, tableaus[other, budget]), mine)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--side", type=int, default=14, choices=(14, 28), help="pixels")
    words.add_argument("--noises", type=int, default=32, help="to fit")
    words.add_argument("--evaluations", type=int, nargs="+", default=[5, 10])
    words.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    options = words.parse_args()
    warnings.filterwarnings("ignore")
    with torch.no_grad():
        compare(options.only, options.side, options.noises, options.evaluations)


if __name__ == "__main__":
    main()
