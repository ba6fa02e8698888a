"""A tuned sampler beside every library's best fixed one: python -m benchmarks.tuned [--noises 16] [--evaluations 5 10]

The problems are exact: mixtures fitted to MNIST and to Fashion-MNIST of 28 x 28 (784 dimensions), as in
`benchmarks.mixture`, with DDPM's linear schedule, in float32. Errors are medians over samples of the root mean square
difference from the flow's end, by 100 steps of UniPC (how much those differ from 200 is printed).

Of each library the configuration that errs least on one problem is reported on the other. The tuned sampler is fitted
to the problem's own noises, half as many choose among its rounds, and all errors are on 48 other noises, in 3 lots:
their median, the least and the greatest. The last row is the sampler that was tuned to the other problem.

Data: UNDIFFUSE_TEST_DATA with mnist/ and fashion_mnist/.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import mixture
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process import Affine, Linear
from undiffuse.sampling.tuned.problem import Problem, solution
from undiffuse.sampling.tuned.tableau import Tableau
from undiffuse.sampling.tuned.tune import Start, fixed, tune

LIBRARIES: dict[str, mixture.Library] = {
    "undiffuse": mixture.undiffuse,
    "diffusers": mixture.diffusers,
    "k-diffusion": mixture.k_diffusion,
}
PROBLEMS = {"MNIST": "MNIST", "Fashion-MNIST": "Fashion-MNIST 28"}
SEEDS, SAMPLES = 3, 16
CHOOSING = 8  # samples, on which a library's configuration is chosen


class Lots(NamedTuple):
    """Noises to fit, to choose and to report."""

    fit: Problem
    choose: Problem
    unseen: Problem


def draw(data: str, noises: int) -> Lots:
    """Noises of the mixture fitted to the data, with the exact denoiser in float32."""
    process = Affine(Linear())
    denoise = GaussianMixture(process, *(part.float() for part in mixture.fit(data)))
    sizes, firsts = (noises, noises - noises // 2, SEEDS * SAMPLES), (0, noises, 2 * noises)
    blanks = (torch.empty(size, *denoise.means.shape[1:]) for size in sizes)
    return Lots(*(Problem.draw(process, denoise, like, 0, first) for like, first in zip(blanks, firsts, strict=True)))


def as_posed(problem: Problem, count: int) -> mixture.Problem:
    """The first of a lot, as `benchmarks.mixture` has problems."""
    assert isinstance(problem.denoise, GaussianMixture)
    return mixture.Problem(problem.process, problem.denoise, problem.z[:count], problem.truth[:count])


def spread(run: Callable[[], Tensor], problem: Problem) -> str:
    """The median of the lots' errors, and the least and the greatest."""
    each = sorted(mixture.errors(run(), problem.truth, SEEDS))
    return f"{statistics.median(each):.5f} ({each[0]:.5f} to {each[-1]:.5f})"


def tuned(fit: Problem, choose: Problem, evaluations: int) -> tuple[Tableau, str]:
    """The tableau, and how it was found."""
    began = time.process_time()
    starts = fixed(fit.process, evaluations)
    name = min(starts, key=lambda one: choose.error(starts[one].tableau))
    rounds = list(tune(fit, choose, starts[name]))
    return rounds[-1].tableau, f"from {name}, {len(rounds) - 1} rounds, {time.process_time() - began:.0f} s of a core"


def grid_alone(fit: Problem, choose: Problem, start: Start) -> Tableau:
    """The sampler with its own coefficients on the best grid for it."""
    *_, found = tune(fit, choose, start, grid_alone=True)
    return found.tableau


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--noises", type=int, default=16, help="to fit")
    words.add_argument("--evaluations", type=int, nargs="+", default=[5, 10])
    words.add_argument("--out", type=Path, help="a file for the tableaus, as JSON")
    options = words.parse_args()
    warnings.filterwarnings("ignore")
    mixture.DATA[PROBLEMS["Fashion-MNIST"]] = lambda: mixture.well_known("fashion-mnist")
    with torch.no_grad():
        found = compare(options.noises, options.evaluations)
    if options.out:
        options.out.write_text(json.dumps(found))


def compare(noises: int, evaluations: list[int]) -> dict[str, dict[int, list[float]]]:
    """Print everything; returns the times of each tuned sampler."""
    lots = {name: draw(data, noises) for name, data in PROBLEMS.items()}
    for name, (_, _, unseen) in lots.items():
        finer = solution(unseen.process, unseen.denoise, unseen.z[:8], 200)
        print(f"{name}: 100 and 200 steps differ by {mixture.errors(unseen.truth[:8], finer)[0]:.0e}", flush=True)
    tableaus: dict[tuple[str, int], Tableau] = {}
    for name, budget in ((name, budget) for name in PROBLEMS for budget in evaluations):
        fit, choose, _ = lots[name]
        tableaus[name, budget], how = tuned(fit, choose, budget)
        print(f"{name} {budget}: {how}", flush=True)
    for name, other in (("MNIST", "Fashion-MNIST"), ("Fashion-MNIST", "MNIST")):
        for budget in evaluations:
            report(lots, tableaus, name, other, budget)
    return {name: {n: list(tableaus[name, n].times) for n in evaluations} for name in PROBLEMS}


def report(
    lots: dict[str, Lots],
    tableaus: dict[tuple[str, int], Tableau],
    name: str,
    other: str,
    budget: int,
) -> None:
    """The rows of one problem and one number of evaluations; what is fixed was chosen on the other problem."""
    fit, choose, unseen = lots[name]
    posed = as_posed(unseen, len(unseen.z))
    for label, library in LIBRARIES.items():
        chosen = mixture.ranked(library, [as_posed(lots[other].fit, CHOOSING)], budget)[0].name
        run = dict(library(posed, budget))[chosen]
        print(f"{name:14}{budget:4}  {label:22} {spread(run, unseen)}  {chosen}", flush=True)
    alone = grid_alone(fit, choose, fixed(fit.process, budget)["unipc"])
    rows = {"UniPC, grid tuned": alone, "tuned": tableaus[name, budget], f"tuned to {other}": tableaus[other, budget]}
    for label, tableau in rows.items():
        print(f"{name:14}{budget:4}  {label:22} {spread(partial(unseen.end, tableau), unseen)}", flush=True)


if __name__ == "__main__":
    main()
