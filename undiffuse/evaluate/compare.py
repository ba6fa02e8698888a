"""Which sampler is worth how many evaluations, on a model of your own?

    compare(run, ["ddim", "gradient-estimation"], [5, 10, 20, 50]).answers()
    ["gradient-estimation at 10 evaluations is at least as good as ddim at 20 (0.041 ± 0.001 against 0.042 ± 0.001)"]

Samplers that evaluate the network twice a step get half the steps, so that all are compared at equal cost. Every trial
is repeated over seeds. All trials of one seed start from the same noise, so that differences between trials have a
smaller error than the trials themselves.
"""

import csv
import io
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, usage
from undiffuse.core.files import write_json, write_text
from undiffuse.core.notebook import as_html
from undiffuse.data.dataset import Dataset
from undiffuse.draw.curves import Quality, quality
from undiffuse.draw.style import save
from undiffuse.evaluate.judged import judge_of
from undiffuse.measure.estimate import Estimate, estimate
from undiffuse.measure.floor import Floor, draw, filled_up, halves, in_their_place, summarise
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.run.beside import typical
from undiffuse.run.run import Run
from undiffuse.run.tuned import FILE, TUNED, read_tuned
from undiffuse.sampling.samplers import current, each, sampler_of
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table
    from rich.text import Text

USUAL = ("ddim", "gradient-estimation", "dpm++2m")  # compared unless others are named
TOKEN_USUAL = ("ancestral", "first-hitting", "most-confident-first")
EVALUATIONS = (5, 10, 20, 50)  # to spend, unless told otherwise
FEW = (1, 2, 4, 8, 20)  # where there is a model of few steps
DRAWS = 5  # of real data, whose median is the floor
FILES = ("compare.png", "compare.json", "compare.csv")
MOST_SEEDS = 10_000
SURE = 2.0  # standard errors from which a difference is believed


class Cost(NamedTuple):
    """What steps of a sampler cost: evaluations of how many steps, and how many it may take, None for any number."""

    of: Callable[[int], int]
    most: int | None = None
    tuned: Container[int] | None = None  # the numbers that it was tuned for, if it was


class Contender(NamedTuple):
    """A run by one of its samplers."""

    run: Run
    sampler: str
    sampling: Sampling

    @property
    def cost(self) -> Cost:
        """What its steps cost."""
        if self.sampling.grid == TUNED:
            return Cost(each, tuned=read_tuned(self.run.folder, self.run.fingerprint).tableaus)
        return Cost(self.run.samplers[self.sampler].evaluations, self.run.most)


class Trying(NamedTuple):
    """A trial to be made: a sampler, and the evaluations that it may spend."""

    sampler: str
    asked: int
    steps: int
    evaluations: int


@dataclass(frozen=True)
class Trial:
    """How good a sampler was, seed by seed."""

    sampler: str
    asked: int  # evaluations that it might have spent
    steps: int
    evaluations: int  # those that it spent, at most ``asked``
    values: tuple[float, ...]  # one a seed; lower is better

    @property
    def estimate(self) -> Estimate:
        """Mean and standard error."""
        return estimate(self.values)


@dataclass(frozen=True)
class Comparison:
    """Trials, the floor that they are compared with, and the protocol; the first sampler is the reference for the
    others."""

    trials: tuple[Trial, ...]
    measure: str
    floor: Floor
    protocol: dict[str, int | str]
    notes: tuple[str, ...] = ()

    @property
    def samplers(self) -> list[str]:
        """In the order in which they were asked for."""
        return list(dict.fromkeys(trial.sampler for trial in self.trials))

    def of(self, sampler: str) -> list[Trial]:
        """A sampler's trials, the cheapest first."""
        return sorted((trial for trial in self.trials if trial.sampler == sampler), key=lambda trial: trial.evaluations)

    def answers(self) -> list[str]:
        """For every other sampler, one sentence: how many of its evaluations the first sampler's are worth."""
        first, *others = self.samplers
        return [self._answer(first, other) for other in others]

    def _repr_html_(self) -> str:
        return as_html(self.table())

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png")
        return picture.getvalue()

    def table(self) -> "Table":
        """For rich's ``print``: samplers down, evaluations across, the best of each column bold."""
        from rich.table import Table

        asked = sorted({trial.asked for trial in self.trials})
        best = {n: min((t for t in self.trials if t.asked == n), key=lambda trial: trial.estimate.mean) for n in asked}
        floor = f"{self.floor.median:.3g}" + ("" if math.isnan(self.floor.spread) else f" ± {self.floor.spread:.1g}")
        table = Table(
            title=f"{self.measure}, lower is better; {floor} for real data",
            caption=", ".join(f"{name} {value}" for name, value in self.protocol.items())
            + "; ± is of the samples alone, all held against the same rows",
        )
        table.add_column("evaluations", no_wrap=True)
        for n in asked:
            table.add_column(str(n), justify="right", no_wrap=True)
        for sampler in self.samplers:
            cells = {trial.asked: _cell(trial, bold=trial is best[trial.asked]) for trial in self.of(sampler)}
            table.add_row(sampler, *(cells.get(n, "-") for n in asked))
        return table

    def figure(self) -> "Figure":
        """Quality against evaluations, with error bars, and the floor as a band."""
        curves = {
            sampler: [Quality(trial.evaluations, *trial.estimate[:2]) for trial in self.of(sampler)]
            for sampler in self.samplers
        }
        return quality(curves, self.measure, *self.floor, title="What are evaluations worth?")

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists for ``json.dumps``; an unknown value (the error with one seed) is null."""
        rows = [
            trial.__dict__ | {"mean": trial.estimate.mean, "error": _known(trial.estimate.error)}
            for trial in self.trials
        ]
        return {
            "measure": self.measure,
            "floor": {"median": self.floor.median, "spread": _known(self.floor.spread)},
            "trials": rows,
            "answers": self.answers(),
            "notes": list(self.notes),
            "protocol": self.protocol,
        }

    def to_csv(self) -> str:
        """A row a trial."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["sampler", "asked", "steps", "evaluations", "mean", "error", "seeds", "floor"])
        for t in self.trials:
            mean, error, seeds = t.estimate
            error_cell = "" if math.isnan(error) else error
            rows.writerow([t.sampler, t.asked, t.steps, t.evaluations, mean, error_cell, seeds, self.floor.median])
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """``compare.png``, ``.json`` and ``.csv`` in the folder, made if need be; returns what was written."""
        folder.mkdir(parents=True, exist_ok=True)
        picture, numbers, table = (folder / name for name in FILES)
        save(self.figure(), picture)
        write_json(numbers, self.to_json())
        write_text(table, self.to_csv())
        return [picture, numbers, table]

    def _answer(self, one: str, other: str) -> str:
        """What either sampler saves compared with the other; if neither saves, where one is better at the same cost."""
        saving = [*self._savings(other, one), *self._savings(one, other)]
        if saving:
            less, more = max(saving, key=lambda pair: pair[1].evaluations / pair[0].evaluations)
            return (
                f"{less.sampler} at {_evaluations([less])} is at least as good as {more.sampler} at {more.evaluations} "
                f"({less.estimate} against {more.estimate})"
            )
        pairs = [(a, b) for a in self.of(other) for b in self.of(one) if a.asked == b.asked]
        better = [a for a, b in pairs if _better(a, b)]
        worse = [b for a, b in pairs if _better(b, a)]
        said = [
            f"{trials[0].sampler} is better than {loser} at {_evaluations(trials)}"
            for trials, loser in ((better, one), (worse, other))
            if trials
        ]
        return ", ".join(said) or f"{other} and {one} cannot be told apart at any of these"

    def _savings(self, mine: str, theirs: str) -> list[tuple[Trial, Trial]]:
        """Pairs of trials in which ``mine`` needs fewer evaluations than ``theirs`` for the same quality.

        A pair counts only if the most expensive trial of ``theirs`` that costs no more than mine is significantly worse
        than mine.
        """
        pairs = []
        for ours in self.of(mine):
            no_dearer = [trial for trial in self.of(theirs) if trial.evaluations <= ours.evaluations]
            if no_dearer and not _better(ours, no_dearer[-1]):
                continue
            dearer = (trial for trial in self.of(theirs) if trial.evaluations > ours.evaluations)
            pairs += [(ours, trial) for trial in dearer if ours.estimate.mean <= trial.estimate.mean]
        return pairs


def compare(
    run: Run,
    ruler: Callable[[Run, Dataset, Dataset], "Ruler"],
    samplers: Sequence[str] | None,
    evaluations: Sequence[int] | None,
    seeds: int,
    count: int,
    sampling: Sampling | None = None,
    watch: Callable[[Sequence[Trying]], Iterable[Trying]] = tuple,
    beside: Sequence[Run] = (),
) -> Comparison:
    """Every sampler at every number of network evaluations, ``seeds`` times ``count`` samples each.

    ``ruler(run, train, test)`` measures samples against held-out data. Samples get the labels of random training rows,
    because the floor's rows have random labels too. ``samplers`` None means a few of those that the run has. Runs
    ``beside`` it, of the same data, such as its students, are sampled as they are by default, and called by their
    folders. ``watch`` wraps the list of plans and yields them one by one, as a progress bar does.

    Raises:
        UserError: An unknown sampler, a count below 1, no sampler that can work with so few evaluations, or a run
            beside it of other data.
    """
    if len(run.samplers) < 2 and not run.is_few_step and not beside:
        raise UserError(f"{run.folder} has one sampler, and nothing to compare; use: undiffuse evaluate {run.folder}")
    if count < 2:
        raise UserError(f"count must be at least 2, not {count}")
    contenders = _contenders(run, samplers, sampling or run.sampling, beside)
    few = any(contender.run.is_few_step for contender in contenders.values())
    with usage():
        costs = {name: contender.cost for name, contender in contenders.items()}
    plans, notes = plan(costs, (FEW if few else EVALUATIONS) if evaluations is None else evaluations)
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"seeds must be at least 1, and at most {MOST_SEEDS:,}, not {seeds}")
    rows = _Protocol(run, ruler, count)
    trials = []
    for sampler, asked, steps, spent in watch(plans):
        by, name, how = contenders[sampler]
        tries = (how.override(name, steps, seed=seed) for seed in range(seeds))
        values = (rows.distance(by.draw(rows.count, rows.conditions, one).x) for one in tries)
        trials.append(Trial(sampler, asked, steps, spent, tuple(values)))
    protocol: dict[str, int | str] = {"samples": rows.count, "seeds": seeds, "features": rows.ruler.seen}
    return Comparison(tuple(trials), rows.ruler.name, rows.floor(), protocol, tuple(notes))


@usage()
def _contenders(
    run: Run, samplers: Sequence[str] | None, sampling: Sampling, beside: Sequence[Run]
) -> dict[str, Contender]:
    """The run by each of its samplers, by their names, and the runs beside it, by their folders' names."""
    usual = [name for name in (*USUAL, *TOKEN_USUAL) if name in run.samplers] or list(run.samplers)
    usual += [TUNED] if (run.folder / FILE).is_file() else []
    found = {}
    for name in usual if samplers is None else map(current, samplers):
        if name == TUNED:
            found[name] = Contender(run, sampling.sampler, sampling.override(grid=TUNED))
            continue
        sampler_of(run.denoiser.process, name, run.denoiser.learned_variance, run.denoiser.jumps)
        found[name] = Contender(run, name, sampling)
    for other in beside:
        if (other.kind, other.shape) != (run.kind, run.shape) or other.recipe.data != run.recipe.data:
            raise UserError(f"{other.folder} is of other data than {run.folder}; compare runs of one data set")
        name = other.folder.name if other.folder.name not in found else str(other.folder)
        found[name] = Contender(other, other.sampling.sampler, other.sampling)
    return found


@usage()
def plan(costs: Mapping[str, Cost], evaluations: Sequence[int]) -> tuple[list[Trying], list[str]]:
    """As many steps as each number of evaluations allows, and notes on what is impossible.

    Raises UserError for evaluations below 1, or if nothing is possible.
    """
    plans, notes = [], []
    if min(evaluations, default=0) < 1:
        raise UserError(f"evaluations must be at least 1, not {min(evaluations, default='none')}")
    for name, (cost, most, tuned) in costs.items():
        for asked in sorted(set(evaluations)):
            if most is not None and asked > most:
                notes.append(f"{name} was trained for at most {most} evaluations: left out at {asked}")
                continue
            if tuned is not None and asked not in tuned:
                notes.append(f"{name} is not there for {asked} evaluations: left out; undiffuse tune finds it")
                continue
            if cost(1) > asked:
                notes.append(f"{name} needs at least {cost(1)} evaluations: left out at {asked}")
                continue
            steps = next(steps for steps in range(asked, 0, -1) if cost(steps) <= asked)
            plans.append(Trying(name, asked, steps, cost(steps)))
    if not plans:
        raise UserError("; ".join(notes) or "no sampler to compare; name some with --samplers")
    return plans, notes


def _itself(x: Tensor) -> Tensor:
    return x


class Ruler(NamedTuple):
    """A distance between samples and data, and the features that it compares."""

    name: str
    between: Callable[[Tensor, Tensor], float]
    seen: str = "the data itself"
    features: Callable[[Tensor], Tensor] = _itself
    has_learned: bool = False  # the features, of the training rows


class _Protocol:
    """The data that samples are compared with, and the distance."""

    def __init__(self, run: Run, ruler: Callable[[Run, Dataset, Dataset], Ruler], count: int) -> None:
        test, train = run.dataset("test"), run.dataset("train")
        self.count = min(count, len(test), len(train))
        self.conditions = typical(run, self.count, data=train)
        self.ruler = ruler(run, train, test)
        generator = torch.Generator().manual_seed(0)  # always the same rows
        held_out = draw(test.x, self.count, generator)
        if self.ruler.has_learned:
            pool = filled_up(test.x, train.x, 2 * self.count, generator)
            self._real = halves(pool, self.count, DRAWS, generator)
        else:
            self._real = in_their_place(train.x, held_out, DRAWS, generator)
        self._held_out = self.ruler.features(held_out)

    def distance(self, samples: Tensor) -> float:
        """From samples to as many held-out rows."""
        return self.ruler.between(self.ruler.features(samples), self._held_out)

    def floor(self) -> Floor:
        """From real data to as much real data."""
        return summarise([self.ruler.between(*map(self.ruler.features, pair)) for pair in self._real])


def ruler_of_pictures(run: Run, train: Dataset, test: Dataset) -> Ruler:
    """Frechet distance if a classifier is available for pictures, else sliced Wasserstein."""
    judge = judge_of(run, train, test)
    if judge is None:
        return Ruler("sliced Wasserstein", sliced_wasserstein)
    seen = f"of a classifier {judge.accuracy:.1%} right"
    return Ruler("Frechet distance", frechet_distance, seen, judge.features, has_learned=True)


def _better(one: Trial, other: Trial) -> bool:
    """Whether ``one`` is significantly better: compared seed by seed, because trials of one seed share their noise."""
    mean, error, _ = estimate(a - b for a, b in zip(one.values, other.values, strict=True))
    return mean < -SURE * (0.0 if math.isnan(error) else error)


def _cell(trial: Trial, bold: bool) -> "Text":
    from rich.text import Text

    text = str(trial.estimate) + (f" ({trial.evaluations} used)" if trial.evaluations != trial.asked else "")
    return Text(text, "bold" if bold else "")


def _evaluations(trials: Sequence[Trial]) -> str:
    """5, 10 and 20 evaluations."""
    *most, last = (str(trial.evaluations) for trial in trials)
    return f"{', '.join(most)} and {last} evaluations" if most else f"{last} evaluation" + "s" * (last != "1")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
