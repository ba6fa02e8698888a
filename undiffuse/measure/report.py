"""Every measure of a set of samples, each beside its floor, and how it was measured."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.notebook import as_html
from undiffuse.measure.energy import energy_distance
from undiffuse.measure.floor import Floor, Pair, draw, filled_up, halves, in_their_place, summarise
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.inception_score import inception_score
from undiffuse.measure.judge import Judge
from undiffuse.measure.kid import kid
from undiffuse.measure.manifold import manifold
from undiffuse.measure.memorise import memorisation
from undiffuse.measure.mmd import mmd
from undiffuse.measure.rows import rows
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.measure.two_sample import two_sample_test

if TYPE_CHECKING:
    from rich.console import Group

Better = Literal["lower", "higher", "near floor"]
KID = "KID"  # its mean is 0 for real data


@dataclass(frozen=True)
class Number:
    """The name of a number, which direction is good, and what it means."""

    name: str
    better: Better
    meaning: str


@dataclass(frozen=True)
class Measure:
    """A function of (samples, data, seed), and the numbers that it gives.

    ``on_features`` looks at features where there are any; ``on_features_alone`` is left out where there are none.
    """

    function: Callable[[Tensor, Tensor, int], Sequence[float]]
    numbers: tuple[Number, ...]
    on_features: bool = False
    on_features_alone: bool = False


MEASURES = (
    Measure(
        lambda x, y, seed: [sliced_wasserstein(x, y, seed=seed)],
        (Number("sliced Wasserstein", "lower", "how far mass must move along a random line, in the data's units"),),
    ),
    Measure(
        lambda x, y, seed: [energy_distance(x, y)],
        (Number("energy distance", "lower", "how much farther samples and data are from each other than within"),),
    ),
    Measure(
        lambda x, y, seed: [mmd(x, y)],
        (Number("MMD", "lower", "how differently samples and data fill space, from fine detail to outline"),),
    ),
    Measure(
        lambda x, y, seed: [two_sample_test(x, y, seed=seed).accuracy],
        (Number("two-sample accuracy", "lower", "how often a classifier tells samples from data; half is chance"),),
        on_features=True,
    ),
    Measure(
        lambda x, y, seed: manifold(x, y),
        (
            Number("precision", "higher", "the share of samples that lie among the data"),
            Number("recall", "higher", "the share of data that lies among the samples"),
            Number("density", "higher", "how thickly the samples lie where the data does"),
            Number("coverage", "higher", "the share of data that has a sample in its neighbourhood"),
        ),
        on_features=True,
    ),
    Measure(
        lambda x, y, seed: [frechet_distance(x, y)],
        (Number("Frechet distance", "lower", "how far apart mean and covariance are, squared"),),
        on_features=True,
    ),
    Measure(
        lambda x, y, seed: [kid(x, y)],
        (
            Number(
                KID, "lower", "how far apart features are by a cubic kernel, squared; around 0 for equal distributions"
            ),
        ),
        on_features=True,
        on_features_alone=True,  # a cubic kernel of raw numbers depends on their units and on where their zero is
    ),
)
SHOWN = 8  # labels that a table names
NEAREST = Number("nearest training example", "near floor", "how far the median sample is from any training example")
COPIED = Number("copied", "lower", "the share of samples nearer to a training example than all but 1% of new data")
VALID = "the share of samples that pass an exact check of what makes real ones real"
SCORE = Number("inception score", "higher", "how clear each sample is and how diverse all are, by the judge's labels")
LABELLED = Number(
    "label accuracy", "higher", "the share of samples in which the judge reads the label that they were given"
)


@dataclass(frozen=True)
class Row:
    """One number beside its floor."""

    name: str
    value: float
    floor: float
    spread: float  # standard deviation of the floor over its draws; nan where there was one
    better: Better
    meaning: str

    @property
    def ratio(self) -> float:
        """value / floor: 1 is as good as real data. Infinite, or nan for 0 / 0, where the floor is zero.

        Of what is 0 on average for real data, such as KID, it says nothing: nan.
        """
        if self.name == KID:
            return math.nan
        if self.floor:
            return self.value / self.floor
        return math.inf if self.value else math.nan


@dataclass(frozen=True)
class LabelAgreement:
    """One label: how many samples were given it, and the shares of these and of real rows in which the judge reads
    it."""

    label: str
    count: int
    read: float
    real: float  # nan where none was held out


@dataclass(frozen=True)
class Report:
    """The rows, the protocol (counts, seed, draws, features, what stood for the samples' judge), and label by label."""

    rows: tuple[Row, ...]
    protocol: dict[str, int | float | str | None]
    labels: tuple["LabelAgreement", ...] = ()

    def __getitem__(self, name: str) -> Row:
        return {row.name: row for row in self.rows}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists for ``json.dumps``; what is not a finite number is null."""
        table = [asdict(row) | {"ratio": row.ratio} for row in self.rows]
        finite = [{key: None if _endless(value) else value for key, value in row.items()} for row in table]
        labels = [{k: None if _endless(v) else v for k, v in asdict(one).items()} for one in self.labels]
        return {"measures": finite, "protocol": self.protocol, "labels": labels}

    def _repr_html_(self) -> str:
        return as_html(self.table())

    def table(self) -> "Group":
        """For rich's ``print``: one line for each number, then what each means and how it was measured."""
        from rich.console import Group
        from rich.table import Column, Table

        numbers = Table(
            "measure", *(Column(name, justify="right") for name in ("value", "floor", "value / floor")), "better"
        )
        for row in self.rows:
            floor = _told(row.floor) if math.isnan(row.spread) else f"{row.floor:.3g} ± {row.spread:.1g}"
            numbers.add_row(row.name, f"{row.value:.3g}", floor, _told(row.ratio, ".2f"), row.better)
        meanings = "\n".join(f"{row.name}: {row.meaning}" for row in self.rows)
        protocol = ", ".join(f"{key} {value}" for key, value in self.protocol.items() if value is not None)
        worst = sorted(self.labels, key=lambda one: one.read)
        worst_labels = ", ".join(f"{one.label} {one.read:.0%} (real {one.real:.0%})" for one in worst[:SHOWN])
        return Group(
            numbers, meanings, protocol, *([f"label accuracy, the worst first: {worst_labels}"] if worst_labels else [])
        )


def report(
    samples: Tensor,
    held_out: Tensor,
    *,
    train: Tensor | None = None,
    labels: Tensor | None = None,
    judge: Judge | None = None,
    held_out_labels: Tensor | None = None,
    label_names: Sequence[str] = (),
    validity: tuple[str, Callable[[Tensor], Tensor]] | None = None,
    features: Callable[[Tensor], Tensor] | None = None,
    measures: Sequence[Measure] = MEASURES,
    at_most: int = 5000,
    draws: int = 3,
    seed: int = 0,
) -> Report:
    """Measure ``samples (n, *shape)`` against ``held_out (m, *shape)``, data that the model was not trained on.

    Every comparison is of one count, ``at_most`` so many: as many rows as samples, held-out data and ``train`` all
    have; without ``train``, as two disjoint draws of held-out data can have. Whatever the order of the rows, they are
    drawn at random. The floor is the median over ``draws`` such comparisons of real rows (`undiffuse.measure.floor`).
    With ``train``, also how near the samples come to it; with a ``judge`` and the ``labels (n,)`` that were asked for,
    how many samples show them; with ``validity``, a name and a check ``(n, *shape) -> (n,)`` bool, how many samples
    pass. ``features`` (the judge's, if there is one) serve the two-sample test, precision to coverage and the Frechet
    distance; the judge knows the rows that it was trained on, so that their floor is of held-out rows, as far as there
    are enough. Raises ``UserError`` as the measures do.
    """
    rows(samples, held_out)
    count = min(len(samples), len(held_out), len(held_out) // 2 if train is None else len(train), at_most)
    generator = torch.Generator().manual_seed(seed)
    x, y = (draw(part, count, generator) for part in (samples, held_out))
    real = halves(held_out, count, draws, generator) if train is None else in_their_place(train, y, draws, generator)
    views = {False: _View(x, y, real)}
    if features:
        views[True] = views[False].through(features)
    elif judge:
        pool = held_out if train is None else filled_up(held_out, train, 2 * count, generator)
        views[True] = _View(x, y, halves(pool, count, draws, generator)).through(judge.features)
    else:
        views[True] = views[False]
        measures = [measure for measure in measures if not measure.on_features_alone]

    table = [row for measure in measures for row in _compared(measure, views[measure.on_features], seed)]
    by_label: tuple[LabelAgreement, ...] = ()
    if train is not None:
        found = memorisation(x, train, y)
        table.append(_row(NEAREST, found.distance, Floor(found.held_out, math.nan)))
        table.append(_row(COPIED, found.copied, Floor(found.quantile, math.nan)))
    if judge is not None and labels is not None:
        if labels.shape != (len(samples),):
            raise UserError(f"{len(samples)} samples need labels of shape ({len(samples)},), not {tuple(labels.shape)}")
        right = judge.predict(samples) == labels.cpu()
        table.append(_row(LABELLED, float(right.double().mean()), Floor(judge.accuracy, math.nan)))
        table.append(_beside(SCORE, lambda part: inception_score(judge.probabilities(part)), x, y))
        by_label = _by_label(judge, right, labels.cpu(), held_out, held_out_labels, label_names)
    if validity is not None:
        name, check = validity
        passed = Number(name, "higher", VALID)
        table.append(_beside(passed, lambda part: float(check(part).double().mean()), samples, held_out))
    protocol = {
        "samples": count,
        "samples read and checked": len(samples),
        "held-out rows": count,
        "training rows": None if train is None else len(train),
        "floor draws": draws,
        "features": "given" if features else "the judge's" if judge else "the data itself",
        "judge's accuracy": judge.accuracy if judge else None,
        "seed": seed,
    }
    return Report(tuple(table), protocol, by_label)


def _compared(measure: Measure, view: "_View", seed: int) -> Iterator[Row]:
    """The numbers of one measure, each beside its floor."""
    values = measure.function(view.samples, view.held_out, seed)
    floors = zip(*(measure.function(a, b, seed) for a, b in view.real), strict=True)
    for number, value, known in zip(measure.numbers, values, floors, strict=True):
        yield _row(number, value, summarise(known))


def _beside(number: Number, of: Callable[[Tensor], float], samples: Tensor, held_out: Tensor) -> Row:
    """A number of the samples; its floor is that of held-out rows."""
    return _row(number, of(samples), Floor(of(held_out), math.nan))


class _View(NamedTuple):
    """What a measure looks at: samples, as many held-out rows, and pairs of real rows, whose distance is the floor."""

    samples: Tensor
    held_out: Tensor
    real: list[Pair]

    def through(self, features: Callable[[Tensor], Tensor]) -> "_View":
        """The same, by their features."""
        theirs = features(self.held_out)
        real = [(features(a), theirs if b is self.held_out else features(b)) for a, b in self.real]
        return _View(features(self.samples), theirs, real)


def _by_label(
    judge: Judge,
    right: Tensor,
    labels: Tensor,
    held_out: Tensor,
    held_out_labels: Tensor | None,
    names: Sequence[str],
) -> tuple[LabelAgreement, ...]:
    """Every label that samples were given, beside what the judge reads in real rows of it."""
    real = judge.predict(held_out) == held_out_labels if held_out_labels is not None else None
    found = []
    for label in labels.unique().tolist():
        mine = labels == label
        theirs = real[held_out_labels == label] if real is not None else torch.empty(0)
        name = names[label] if label < len(names) else str(label)
        found.append(
            LabelAgreement(name, int(mine.sum()), *(float(part.double().mean()) for part in (right[mine], theirs)))
        )
    return tuple(found)


def _row(number: Number, value: float, floor: Floor) -> Row:
    return Row(number.name, value, floor.median, floor.spread, number.better, number.meaning)


def _told(number: float, form: str = ".3g") -> str:
    return "not known" if math.isnan(number) else f"{number:{form}}"


def _endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
