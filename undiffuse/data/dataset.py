"""The one data object: rows and, if there are any, their conditions, checked on construction."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import Names, combined, labels_of, names_of
from undiffuse.condition.specification import Specifications, check
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.memory import require
from undiffuse.core.noise import SeededNoise
from undiffuse.core.on_disk import OnDisk, spacing
from undiffuse.data.alphabet import Alphabet
from undiffuse.data.column import Column
from undiffuse.data.task import Task, entry_of

AT_ONCE = 1 << 14  # rows that are checked together


class Form(NamedTuple):
    """How the rows of one kind of data lie in memory."""

    dtypes: tuple[torch.dtype, ...]
    layout: str
    dimensions: int | None = None  # any from 2 on, if None
    needs: str | None = None  # what only data sets of this kind have besides
    stored: bool = True  # whether files hold it; else only training makes it
    channels: bool = False  # whether the first axis of a row is channels, each with its own scale


FORMS = {
    "points": Form((torch.float32,), "(count, columns...)"),
    "pictures": Form((torch.uint8, torch.float32), "(count, c, h, w)", 4, channels=True),
    "series": Form((torch.float32,), "(count, channels, length)", 3, channels=True),
    "text": Form((torch.uint8, torch.int16, torch.int32), "(count, length...)", needs="alphabet"),
    "table": Form((torch.float64,), "(count, columns)", 2, needs="schema"),
    # what a codec precomputes from any of them
    "latents": Form((torch.float32, torch.int32), "(count, ...)", stored=False),
}


def form_of(kind: str) -> Form:
    """The form of a kind of data. Raises UserError for an unknown kind."""
    if kind not in FORMS:
        raise UserError(nearest(kind, FORMS, "kind of data"))
    return FORMS[kind]


@dataclass(frozen=True)
class Dataset:
    """Points, pictures, tokens or a table, checked once on construction.

    Attributes:
        x: ``(count, *shape)``, in memory, or in a file that is mapped: `OnDisk`. Points are float32, in the data's own
            units; pictures are uint8, ``(count, channels, height, width)``, 0 to 255. Tokens are uint8, int16 or
            int32, below the alphabet's size. A table is float64, each column as its `Column` says, NaN where a cell is
            missing.
        conditions: The conditions of each row, absent where they are not known; None if the data has none.
        specifications: What the conditions mean, by name.
        kind: ``"points"``, ``"pictures"``, ``"text"`` or ``"table"``; ``"latents"`` is what a codec precomputes from
        them. columns: Names of the columns of points, if they are known, and of a table.
        alphabet: What tokens stand for.
        schema: What the columns of a table stand for.
        notes: What the reader decided on the way ("3 files that are not pictures were ignored"), one line for each.
        name: What errors and descriptions call this data.
        start: The rows that a bridge to these starts from; see `undiffuse.data.between`.
        paired: Whether each row belongs to the row of ``start`` with the same index.
        task: What makes the one condition of the rows, of the rows themselves; ``conditions`` is then None.

    Raises:
        UserError: Fewer than 2 rows, NaN or infinite values, rows that are all the same, a wrong type,
            conditions that are not one for each row, or not as specified. A constant column among others is allowed.
    """

    x: Tensor
    conditions: Conditions | None = None
    specifications: Specifications = field(default_factory=dict)
    kind: str = "points"
    columns: tuple[str, ...] = ()
    alphabet: Alphabet | None = None
    schema: tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    name: str = "the data"
    start: "Dataset | None" = None
    paired: bool = False
    task: Task | None = None

    def __post_init__(self) -> None:
        self._check_form()
        self._check_values()
        if (self.conditions is None and self.task is None) != (not self.specifications):
            raise UserError(f"{self.name}: conditions and their specifications come together")
        if self.conditions is not None:
            self._check_conditions(self.conditions)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row: ``(columns,)``, ``(channels, height, width)`` or ``(length,)``."""
        return tuple(self.x.shape[1:])

    @property
    def labels(self) -> Tensor | None:
        """The conditions that are labels, as indices: see `undiffuse.condition.label`."""
        return labels_of(self.conditions, self.specifications)

    @property
    def label_names(self) -> Names:
        """The names of these labels."""
        return names_of(self.specifications)

    def take(self, rows: Tensor) -> "Dataset":
        """The rows given by an index or a mask ``(count,)``, with their conditions; everything else is unchanged."""
        x, conditions = self.x[rows], None if self.conditions is None else self.conditions[rows]
        if self.task is not None:
            conditions = Conditions({self.task.condition: entry_of(self.task, x, SeededNoise(0))})
        return replace(self, x=x, conditions=conditions, task=None)

    def typical(self) -> "Dataset":
        """The rows that are measured: all that lie in memory; of those on disk evenly spread ones, in memory."""
        step = spacing(self.x)
        return self if step == 1 else self.take(torch.arange(0, len(self), step))

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Train and test parts: disjoint, together everything, the same on every call.

        ``fraction`` of the rows, and at least 2, are held out. They are drawn by ``seed`` and spread evenly
        over the labels, so that each label loses ``fraction`` of its rows, to within one row.
        """
        is_test = self._held_out(fraction, seed)
        return self.take(~is_test), self.take(is_test)

    def part(self, split: str, fraction: float = 0.1) -> "Dataset":
        """``"train"``, ``"test"`` (a fixed ``fraction``, held out) or ``"all"``."""
        check_split(split)
        if split == "all":
            return self
        is_test = self._held_out(fraction, seed=0)
        return self.take(is_test if split == "test" else ~is_test)

    def _held_out(self, fraction: float, seed: int) -> Tensor:
        """Which rows are for testing, ``(count,)`` bool."""
        return held_out(len(self), self.conditions, self.specifications, self.name, fraction, seed)

    def _check_form(self) -> None:
        form = form_of(self.kind)
        shaped = self.x.ndim == form.dimensions if form.dimensions else self.x.ndim >= 2
        if self.x.dtype not in form.dtypes or not shaped:
            wanted = f"{form.layout} {' or '.join(map(str, form.dtypes))}"
            raise UserError(f"{self.name}: rows of {self.kind} are {wanted}, not {tuple(self.x.shape)} {self.x.dtype}")
        for needed in ("alphabet", "schema"):
            if (form.needs == needed) != bool(getattr(self, needed)):
                raise UserError(f"{self.name}: data of kind {self.kind} and its {needed} do not go together")
        if self.schema and len(self.schema) != self.x.shape[1]:
            raise UserError(f"{self.name}: a schema of {len(self.schema)} columns for {self.x.shape[1]}")
        if self.x.numel() == 0:
            raise UserError(f"{self.name}: empty, of shape {tuple(self.x.shape)}; at least 2 rows are needed")
        if self.columns and len(self.columns) != self.x.shape[1]:
            raise UserError(f"{self.name}: {len(self.columns)} column names for {self.x.shape[1]} columns")

    def _check_values(self) -> None:
        if len(self) == 1:
            raise UserError(f"{self.name}: only one row; at least 2 are needed")
        if isinstance(self.x, OnDisk):  # checked when it was written
            return
        if self.x.dtype == torch.float32 and not all(bool(some.isfinite().all()) for some in self.x.split(AT_ONCE)):
            where = (~self.x.isfinite()).nonzero()
            row, column, *_ = (int(i) for i in where[0])
            named = repr(self.columns[column]) if self.columns else f"number {column + 1}"
            raise UserError(
                f"{self.name}: {len(where)} of {self.x.numel()} values are NaN or infinite, "
                f"the first in row {row + 1}, column {named}; remove or fill them"
            )
        if self.alphabet is not None and not 0 <= int(self.x.min()) <= int(self.x.max()) < self.alphabet.size:
            low, high = int(self.x.min()), int(self.x.max())
            raise UserError(
                f"{self.name}: tokens run from {low} to {high}; {self.alphabet.describe()} allow 0 to "
                f"{self.alphabet.size - 1}"
            )
        # stops at the first different row, nearly always the second
        if all(torch.equal(self.x[0], self.x[row]) for row in range(1, len(self))):
            raise UserError(f"{self.name}: all {len(self)} rows are the same; there is nothing to learn")

    def _check_conditions(self, conditions: Conditions) -> None:
        if len(conditions) != len(self):
            raise UserError(
                f"{self.name}: expected one condition for each row, not {len(conditions)} for {len(self)} rows"
            )
        try:
            check(self.specifications, conditions)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None


def held_out(
    count: int,
    conditions: Conditions | None,
    specifications: Specifications,
    name: str,
    fraction: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """Which of ``count`` rows with these conditions are for testing, ``(count,)`` bool; see `Dataset.split`.

    Raises UserError, which begins with ``name``, where one part would have fewer than 2 rows.
    """
    held = max(2, round(fraction * count))
    if not 0 < fraction < 1 or count - held < 2:
        raise UserError(f"{name}: cannot hold out {fraction:g} of {count} rows; both parts need at least 2")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    labels, _ = combined(labels_of(conditions, specifications), names_of(specifications))
    if labels is not None:
        order = order[labels[order].argsort(stable=True)]
    evenly_spaced = (2 * torch.arange(held) + 1) * count // (2 * held)
    is_test = torch.zeros(count, dtype=torch.bool)
    is_test[order[evenly_spaced]] = True
    return is_test


def random_conditions(dataset: Dataset, count: int, seed: int = 0, without: Collection[str] = ()) -> Conditions | None:
    """The conditions of ``count`` rows drawn at random, ``without`` some; None for data that has no others.

    Samples that are measured get these conditions: as frequent as in the data, but not those of the very rows with
    which the samples are compared, because two draws of real data, the floor, differ in their conditions too. Rows with
    an absent condition are not drawn.
    """
    if dataset.task is not None:
        rows = torch.randint(len(dataset), (count,), generator=torch.Generator().manual_seed(seed))
        return dataset.take(rows).conditions
    asked = dataset.conditions
    if asked is not None and without:
        asked = asked.only(*(name for name in asked.entries if name not in without))
    if asked is None:
        return None
    complete = asked[asked.complete()]
    if not len(complete):
        return None
    require(16 * count, f"the conditions of {count:,} samples")
    return complete[torch.randint(len(complete), (count,), generator=torch.Generator().manual_seed(seed))]


def judged_rows(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The rows with known labels, and their labels (count,), several attributes as one label: for a judge of
    samples."""
    labels, _ = combined(dataset.labels, dataset.label_names)
    if labels is None:
        return dataset.x[:0], torch.empty(0, dtype=torch.int64)
    return dataset.x[labels >= 0], labels[labels >= 0]


def check_split(split: str) -> None:
    """Raises a UserError unless ``split`` is ``"train"``, ``"test"`` or ``"all"``."""
    known = ("train", "test", "all")
    if split not in known:
        raise UserError(nearest(split, known, "split"))
