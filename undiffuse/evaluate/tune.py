"""A sampler of a run's own for few evaluations: found on noise, against the run's own fine solution.

    lots = draw_lots(run)
    results = [tune(lots, count) for count in (5, 10)]
    write_tuned(run.folder, kept(lots, results))

See `undiffuse.sampling.tuned` for the search. Errors are of what diffuses, in standard deviations of the data: medians
over noise that neither fitted nor chose anything.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.process.affine import Affine
from undiffuse.run.beside import typical
from undiffuse.run.guidance import guided, weight_for
from undiffuse.run.run import Run
from undiffuse.run.tuned import TUNED, Tuned, read_tuned
from undiffuse.sampling.sampling import Sampling
from undiffuse.sampling.tuned.problem import FINE, Problem
from undiffuse.sampling.tuned.tableau import Tableau
from undiffuse.sampling.tuned.tune import ROUNDS, Best, Start, fixed
from undiffuse.sampling.tuned.tune import tune as search

if TYPE_CHECKING:
    from rich.table import Table

NUMBERS = 24576  # of all noises that a tableau is fitted to, if there is no word on how many noises
FEWEST, USUALLY_MOST = 32, 512  # noises
MOST_EVALUATIONS = 50  # the parameters grow as its square


class Lots(NamedTuple):
    """What a run is tuned on: a lot of noise to fit, one to choose, one to report; and what an evaluation costs."""

    run: Run
    guidance: float
    fit: Problem
    choose: Problem
    unseen: Problem
    seconds: float  # of an evaluation, a sample


@dataclass(frozen=True)
class Result:
    """A tuned sampler, and the errors on noise that it has not seen."""

    evaluations: int
    start: str
    tableau: Tableau
    error: float
    fixed: dict[str, float]

    @property
    def best(self) -> tuple[str, float]:
        """The fixed sampler that errs least."""
        return min(self.fixed.items(), key=lambda item: item[1])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"evaluations": self.evaluations, "start": self.start, TUNED: self.error, "fixed": self.fixed}


@usage()
def check(run: Run, evaluations: Sequence[int], noises: int | None, rounds: int) -> None:
    """Raises UserError if the run has no sampler to tune, or if a number is out of range."""
    if run.is_classifier:
        raise UserError(f"{run.folder} is a classifier, which samples nothing, so there is nothing to tune")
    if run.is_few_step:
        raise UserError(
            f"{run.folder} is a model of few steps already, which jumps; tune the run that it was made from"
        )
    if run.is_bridge:
        raise UserError(f"{run.folder} is a bridge, which starts from data; only what starts from noise is tuned")
    if not isinstance(run.denoiser.process, Affine):
        what = "tokens" if run.is_of_tokens else "numbers beside tokens"
        raise UserError(f"{run.folder} is of {what}, whose samplers draw at random; only numbers have a grid to tune")
    least, most = min(evaluations, default=0), max(evaluations, default=0)
    if least < 1 or most > MOST_EVALUATIONS:
        raise UserError(f"evaluations are tuned from 1 to {MOST_EVALUATIONS}, not {least if least < 1 else most}")
    if noises is not None and noises < 4:
        raise UserError(f"noises must be at least 4, not {noises}")
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")


def draw_lots(run: Run, noises: int | None = None, seed: int = 0, sampling: Sampling | None = None) -> Lots:
    """Noise, and where the run's own fine solution takes it, with conditions of random training rows.

    ``noises`` to fit, half as many to choose, and half as many to report. Raises UserError if the run cannot be guided
    so.
    """
    how, shape, process = sampling or run.sampling, run.codec.latent_shape, run.denoiser.process
    run.plan(how)  # whether it samples
    count = noises or min(max(NUMBERS // torch.Size(shape).numel(), FEWEST), USUALLY_MOST)
    sizes = count, count - count // 2, count - count // 2
    firsts = 0, sizes[0], sizes[0] + sizes[1]
    wanted = typical(run, sum(sizes), seed)
    denoise = guided(run.denoiser.__call__, run, how.guidance)
    began, lots = time.perf_counter(), []
    with torch.no_grad():
        for size, first in zip(sizes, firsts, strict=True):
            mine = None if wanted is None else wanted[first : first + size].to(run.device)
            asked = _InBatches(denoise, mine, run.batch)
            lots.append(Problem.draw(process, asked, process.blank(size, shape, run.device), seed, first))
    seconds = (time.perf_counter() - began) / (FINE * sum(sizes))
    fit, choose, unseen = lots
    return Lots(run, weight_for(run, how.guidance), fit, choose, unseen, seconds)


def cost(lots: Lots, evaluations: Sequence[int], rounds: int = ROUNDS) -> tuple[int, float]:
    """At most so many evaluations of the network, and about so many seconds."""
    fit = len(lots.fit.z)
    each = sum(rounds * (n**3 // 6 + n**2 + 4 * n) + 20 * n for n in evaluations) * fit
    return each, each * lots.seconds


def tune(
    lots: Lots,
    evaluations: int,
    rounds: int = ROUNDS,
    sampler: str | None = None,
    watch: Callable[[Iterator[Best]], Iterable[Best]] = iter,
) -> Result:
    """The best tableau of so many evaluations, from the best fixed sampler; of a named ``sampler``, its grid alone.

    ``watch`` wraps the search and yields what each round found, as a progress bar does. Raises UserError if the sampler
    is unknown or has no grid to tune: it draws noise, or evaluates the network twice a step.
    """
    starts = fixed(lots.fit.process, evaluations)
    errors = {name: lots.choose.error(start.tableau) for name, start in starts.items()}
    name = _named(lots, sampler, starts) if sampler else min(errors, key=errors.__getitem__)
    *_, found = watch(search(lots.fit, lots.choose, starts[name], rounds, grid_alone=sampler is not None))
    errors = {other: lots.unseen.error(start.tableau) for other, start in starts.items()}
    return Result(evaluations, name, found.tableau, lots.unseen.error(found.tableau), errors)


def kept(lots: Lots, results: Sequence[Result]) -> Tuned:
    """What is to be written: these, and what was tuned before for other counts of the same model, guided alike."""
    model, tableaus = lots.run.fingerprint, {}
    try:
        before = read_tuned(lots.run.folder, model)
        tableaus = before.tableaus if before.guidance == lots.guidance else {}
    except UserError:  # there is none, or of other weights
        pass
    tableaus = tableaus | {result.evaluations: result.tableau for result in results}
    return Tuned(model, lots.guidance, dict(sorted(tableaus.items())))


def table(results: Sequence[Result]) -> "Table":
    """For rich's ``print``: samplers down, evaluations across."""
    from rich.table import Table

    found = Table(title="error against the run's own fine solution, of noise that was not fitted")
    found.add_column("evaluations", no_wrap=True)
    for result in results:
        found.add_column(str(result.evaluations), justify="right", no_wrap=True)
    first = results[0].fixed
    for name in sorted(first, key=first.__getitem__):
        found.add_row(name, *(f"{result.fixed[name]:.4f}" for result in results))
    found.add_section()
    found.add_row(TUNED, *(f"{result.error:.4f}" for result in results))
    found.add_row("of the best fixed one", *(f"{result.error / result.best[1]:.0%}" for result in results))
    return found


def _named(lots: Lots, sampler: str, starts: dict[str, Start]) -> str:
    with usage():
        if sampler not in lots.run.samplers:
            raise UserError(nearest(sampler, starts, "sampler"))
        if sampler not in starts:
            why = f"{sampler} draws fresh noise, or evaluates the network twice a step: it has no grid to tune"
            raise UserError(f"{why}; tune one of {', '.join(name for name in starts if name in lots.run.samplers)}")
    return sampler


class _InBatches:
    """A denoiser of the same samples whatever it is asked, with their conditions, so many at once."""

    def __init__(self, denoise: Callable[..., Any], conditions: Conditions | None, batch: int) -> None:
        self.denoise, self.conditions, self.batch = denoise, conditions, batch

    def __call__(self, x_t: Tensor, t: float) -> Tensor:
        rows = [slice(k, k + self.batch) for k in range(0, len(x_t), self.batch)]
        asked = [None if self.conditions is None else self.conditions[part] for part in rows]
        return torch.cat([self.denoise(x_t[part], t, conditions=one) for part, one in zip(rows, asked, strict=True)])
