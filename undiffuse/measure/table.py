"""How good is a synthetic table? By column, by pair, by a detector, in use, and as to privacy.

All compare rows (count, columns) float64 as `Dataset` has them, category columns as indices, NaN where a cell is
missing; missing is a value as any other. Each number stands beside its floor, what training rows get in the samples'
place.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.codec.quantile import Quantile, to_normal
from undiffuse.core.errors import UserError
from undiffuse.data.column import Column, find_column
from undiffuse.measure.floor import draw, in_their_place, summarise
from undiffuse.measure.memorise import memorisation
from undiffuse.measure.report import COPIED, NEAREST, Number, Report, Row
from undiffuse.measure.two_sample import SEEDS, two_sample_test

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

BINS = 10  # of a number, where pairs of columns are compared
TOLD = 30  # distinct categories, at most, when pairs or rows are compared
MOST = 254  # categories that trees accept
LEAST = -1e300  # in place of a missing number, below all others

COLUMNS = Number(
    "columns", "lower", "the mean over columns of the largest gap between distribution functions, or of total variation"
)
WORST = Number("worst column", "lower", "the largest of those")
PAIRS = Number("pairs", "lower", "the mean over pairs of columns of the total variation between their joint tables")
DETECTOR = Number(
    "detector AUC", "lower", "how often boosted trees rank a real row above a synthetic one; half is chance"
)
USE = "boosted trees trained on as many samples, tested on held-out rows; the floor is trained on real rows"


def table_report(
    samples: Tensor,
    held_out: Tensor,
    train: Tensor,
    schema: Sequence[Column],
    target: str | None = None,
    seed: int = 0,
    draws: int = 3,
) -> Report:
    """Samples (n, columns) against held-out rows, and against those that the model was trained on; drawn at random.

    ``target`` is the column to predict from the others: by default the last category.
    Raises `UserError` for a column that is not there or is no category, or fewer than 10 rows to compare.
    """
    wanted = _target(schema, target) if target else _last_category(schema)
    count = min(len(samples), len(held_out), len(train))
    if count < 10:
        raise UserError(f"a table is measured on at least 10 rows, not {count}")
    generator = torch.Generator().manual_seed(seed)
    x, y = (draw(part, count, generator) for part in (samples, held_out))
    real = in_their_place(train, y, draws, generator)
    codes = _Binned(train, schema)

    def distances(a: Tensor, b: Tensor) -> list[float]:
        each = column_distances(a, b, schema)
        return [sum(each) / len(each), max(each), codes.pair_distance(a, b)]

    known = zip(*(distances(a, b) for a, b in real), strict=True)
    found = zip((COLUMNS, WORST, PAIRS), distances(x, y), map(summarise, known), strict=True)
    rows = [_row(number, value, floor.median, floor.spread) for number, value, floor in found]
    rows.append(_row(DETECTOR, detector(x, y, schema, seed), detector(*real[0], schema, seed)))
    if wanted is not None:
        name = Number(f"{schema[wanted].name} predicted, AUC", "higher", USE)
        learned_from = (draw(part, min(len(samples), len(train)), generator) for part in (samples, train))
        use = (usefulness(part, held_out, schema, wanted, seed) for part in learned_from)
        rows.append(_row(name, next(use), next(use)))
    near = memorisation(codes.rows(x), codes.rows(train), codes.rows(y))
    rows += [_row(NEAREST, near.distance, near.held_out), _row(COPIED, near.copied, near.quantile)]
    protocol = {"samples": len(samples), "held-out rows": len(held_out), "compared": count, "training rows": len(train)}
    return Report(tuple(rows), {**protocol, "floor draws": draws, "seed": seed})


def _target(schema: Sequence[Column], name: str) -> int:
    """The column to predict. Raises UserError for a column of numbers, naming those of categories."""
    k = find_column(schema, name)
    if not schema[k].is_category:
        others = ", ".join(column.name for column in schema if column.is_category) or "there are none"
        raise UserError(f"{schema[k].name} is a {schema[k].kind}; what is predicted is a category: {others}")
    return k


def column_distances(a: Tensor, b: Tensor, schema: Sequence[Column]) -> list[float]:
    """Kolmogorov and Smirnov's distance of each column of numbers, total variation of each of categories, in [0, 1]."""
    pairs = zip(schema, a.unbind(1), b.unbind(1), strict=True)
    return [_largest_gap(x, y) if column.is_number else _variation(x, y) for column, x, y in pairs]


def detector(a: Tensor, b: Tensor, schema: Sequence[Column], seed: int = 0) -> float:
    """The cross-validated AUC of boosted trees that tell rows a from rows b."""
    a, b = _filled(a, schema), _filled(b, schema)
    return two_sample_test(a, b, classifier=_trees(schema, seed), folds=3, seed=seed).auc


def usefulness(train: Tensor, test: Tensor, schema: Sequence[Column], target: int, seed: int = 0) -> float:
    """The AUC, on ``test``, of boosted trees trained on ``train`` to predict a category from the other columns.

    Of several categories, the mean over each against the rest; a category that ``train`` lacks is told by chance.
    """
    from sklearn.metrics import roc_auc_score

    train, test = (part[~part[:, target].isnan()] for part in (train, test))
    kept = [k for k in range(len(schema)) if k != target]
    labels, truth = train[:, target].numpy(), test[:, target].numpy()
    if len(np.unique(labels)) < 2:
        return 0.5
    trees = _trees([schema[k] for k in kept], seed).fit(train[:, kept].numpy(), labels)
    said = dict(zip(trees.classes_, trees.predict_proba(test[:, kept].numpy()).T, strict=True))
    classes = [k for k in np.unique(truth) if 0 < (truth == k).sum() < len(truth)]
    if not classes:
        return math.nan
    chance = np.zeros(len(truth))
    return float(np.mean([roc_auc_score(truth == k, said.get(k, chance)) for k in classes]))


class _Binned:
    """Rows as one-hot bins and categories, by which pairs of columns, and whole rows, are compared."""

    def __init__(self, real: Tensor, schema: Sequence[Column]) -> None:
        self.schema = schema
        inner = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1]
        self.edges = [_known(column).quantile(inner) if len(_known(column)) else inner for column in real.unbind(1)]
        self.quantiles = [Quantile.measure(column) for column in real.unbind(1)]

    def one_hot(self, x: Tensor) -> list[Tensor]:
        """(count, bins) float32 for each column, the last bin being missing."""
        made = []
        for column, cells, edges in zip(self.schema, x.unbind(1), self.edges, strict=True):
            known = cells.nan_to_num()
            bins = torch.searchsorted(edges, known) if column.is_number else known.long().clamp_max(TOLD)
            last = BINS if column.is_number else TOLD + 1
            made.append(F.one_hot(bins.masked_fill(cells.isnan(), last), last + 1).float())
        return made

    def pair_distance(self, a: Tensor, b: Tensor) -> float:
        """The mean over pairs of columns of the total variation between their joint tables."""
        ours, theirs = self.one_hot(a), self.one_hot(b)
        sizes = torch.tensor([part.shape[1] for part in ours])
        gap = (_together(ours) - _together(theirs)).abs()
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        blocks = torch.zeros(len(sizes), len(owner)).index_add_(0, owner, gap)
        blocks = torch.zeros(len(sizes), len(sizes)).index_add_(1, owner, blocks) / 2
        pairs = len(sizes) * (len(sizes) - 1)
        return float((blocks.sum() - blocks.trace()) / pairs) if pairs else 0.0

    def rows(self, x: Tensor) -> Tensor:
        """Rows as points: numbers as normal scores, categories as corners at distance 1; (count, features) float32."""
        parts = []
        for column, quantile, cells, hot in zip(self.schema, self.quantiles, x.unbind(1), self.one_hot(x), strict=True):
            if column.is_number:
                score = to_normal(*quantile.interval(cells.nan_to_num()), torch.tensor(0.5)).masked_fill(
                    cells.isnan(), 0
                )
                parts += [score.float()[:, None], hot[:, -1:]]
            else:
                parts.append(hot * 0.5**0.5)
        return torch.cat(parts, 1)


def _together(parts: list[Tensor]) -> Tensor:
    """How often each two bins occur together, (bins, bins)."""
    hot = torch.cat(parts, 1)
    return hot.T @ hot / len(hot)


def _known(column: Tensor) -> Tensor:
    return column[~column.isnan()]


def _largest_gap(x: Tensor, y: Tensor) -> float:
    x, y = (part.nan_to_num(nan=-math.inf).sort().values for part in (x, y))
    at = torch.cat([x, y])
    ours, theirs = (torch.searchsorted(part, at, right=True).double() / len(part) for part in (x, y))
    return float((ours - theirs).abs().max())


def _variation(x: Tensor, y: Tensor) -> float:
    x, y = ((part.nan_to_num(nan=-1) + 1).long() for part in (x, y))
    size = int(torch.cat([x, y]).max()) + 1
    ours, theirs = (part.bincount(minlength=size).double() / len(part) for part in (x, y))
    return float((ours - theirs).abs().sum() / 2)


def _filled(x: Tensor, schema: Sequence[Column]) -> Tensor:
    """A missing cell as one more category, or as a number below all others, which trees can distinguish."""
    fill = torch.tensor([LEAST if column.is_number else len(column.categories) for column in schema], dtype=x.dtype)
    return torch.where(x.isnan(), fill, x)


def _trees(schema: Sequence[Column], seed: int) -> "HistGradientBoostingClassifier":
    from sklearn.ensemble import HistGradientBoostingClassifier

    categories = [not column.is_number and len(column.categories) <= MOST for column in schema]
    options: dict[str, Any] = {"categorical_features": categories} if any(categories) else {}
    return HistGradientBoostingClassifier(random_state=seed % SEEDS, **options)


def _last_category(schema: Sequence[Column]) -> int | None:
    """The last column of a few categories, if there is one."""
    found = [k for k, column in enumerate(schema) if column.is_category and 2 <= len(column.categories) <= TOLD]
    return found[-1] if found else None


def _row(number: Number, value: float, floor: float, spread: float = math.nan) -> Row:
    return Row(number.name, value, floor, spread, number.better, number.meaning)
