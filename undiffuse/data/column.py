"""A column of a table: what its cells mean as numbers, and how a number is written as a cell again.

    cell -> value, float64: a number unchanged, a date as days or seconds since 1970, a category as its index
    value -> cell: in the file's own form, with as many decimals

NaN is a missing cell, in every kind of column. `undiffuse.data.readers.detect` finds the kinds of a file's columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal, get_args

from torch import Tensor

from undiffuse.core.errors import UserError, nearest

Kind = Literal["number", "integer", "date", "category", "constant"]
KINDS = get_args(Kind)
MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "-")  # of numbers and dates
MISSING_CATEGORY = ("", "?")  # of categories, of which "none" may be one
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DECIMALS = 12  # at most; a number with more is written in its shortest form
FORMS = tuple(
    day + time
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")
    for time in ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M:%SZ")
)


@dataclass(frozen=True)
class Column:
    """The reading and writing of one column.

    Attributes:
        name: As in the header.
        kind: ``"number"``, ``"integer"``, ``"date"``, ``"category"``, or ``"constant"``, all cells alike.
        categories: The distinct cells, the most frequent first (see `frequent`); of a constant, at most one.
        frequent: How many categories have a class of their own. The others, in alphabetical order, are one class for
            the model ("other"), and their place in that order is a number.
        decimals: The least and most digits after the point; None writes the shortest form without loss.
        form: The form of dates, as for `datetime.strptime`.
        missing: How a missing cell is written; None if there is none.

    Raises:
        UserError: These make no sense together.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    frequent: int = 255
    decimals: tuple[int, int] | None = None
    form: str = ""
    missing: str | None = None

    def __post_init__(self) -> None:
        least, most = self.decimals or (0, 0)
        if not 0 <= least <= most <= DECIMALS or self.frequent < 1 or len(self._index) < len(self.categories):
            raise UserError(f"column {self.name!r}: its decimals, its frequent ones or its categories make no sense")
        if self.is_date != (self.form in FORMS):
            raise UserError(f"column {self.name!r}: dates have a form, such as {FORMS[0]}, and nothing else does")
        if self.is_category and not self.categories and self.missing is None:
            raise UserError(f"column {self.name!r}: there are no categories")

    @cached_property
    def _index(self) -> dict[str, int]:
        return {category: k for k, category in enumerate(self.categories)}

    @property
    def is_number(self) -> bool:
        """Whether its values are quantities, which have an order."""
        return self.kind in ("number", "integer", "date")

    @property
    def is_category(self) -> bool:
        """Whether its values are names without an order."""
        return self.kind == "category"

    @property
    def is_date(self) -> bool:
        """Whether its values are seconds or days since 1970."""
        return self.kind == "date"

    @property
    def is_constant(self) -> bool:
        """Whether its cells are all alike."""
        return self.kind == "constant"

    def is_missing(self, cell: str) -> bool:
        """Whether a cell is missing."""
        return cell.lower() in (MISSING if self.is_number else MISSING_CATEGORY)

    def value(self, cell: str) -> float:
        """The value of a cell; NaN if it is missing. Raises `UserError` for a cell that this column cannot hold."""
        cell = cell.strip()
        if not self.is_number and cell in self._index:
            return float(self._index[cell])
        if self.is_missing(cell):
            return math.nan
        if self.is_date:
            try:
                return seconds(cell, self.form) / self._unit
            except ValueError:
                raise UserError(f"{self.name!r} holds dates like {self.write(0.0)}, not {cell!r}") from None
        if self.is_number:
            return self._number(cell)
        raise UserError(f"{self.name!r}: {nearest(cell, self.categories, 'category')}")

    def write(self, value: float) -> str:
        """The cell of a value."""
        if math.isnan(value):
            return self.missing or ""
        if not self.is_number:
            return self.categories[int(value)]
        if self.is_date:
            day = EPOCH + timedelta(seconds=round(value) * self._unit)
            return day.strftime(self.form.replace("%Y", f"{day.year:04}"))  # strftime pads no years
        if self.decimals is None:
            return str(round(value)) if self.kind == "integer" else repr(value)
        least, most = self.decimals
        whole, _, rest = f"{value:.{most}f}".partition(".")
        rest = rest[:least] + rest[least:].rstrip("0")
        return f"{whole}.{rest}" if rest else whole

    def rounded(self, values: Tensor) -> Tensor:
        """Values (count,) rounded to what a file can hold: whole numbers, days, or so many decimals."""
        if self.kind in ("integer", "date"):
            return values.round()
        return values if self.decimals is None else values.round(decimals=self.decimals[1])

    @property
    def _unit(self) -> int:
        """Seconds in what a date counts: seconds where its form has a time of day, else days."""
        return 1 if "%H" in self.form else 86_400

    def _number(self, cell: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.inf
        if not math.isfinite(value) or (self.kind == "integer" and value != round(value)):
            raise UserError(f"{self.name!r} holds {'whole ' * (self.kind == 'integer')}numbers, not {cell!r}")
        return value


def seconds(cell: str, form: str) -> float:
    """Of a date since 1970 began. Raises ValueError."""
    return (datetime.strptime(cell, form).replace(tzinfo=UTC) - EPOCH).total_seconds()


def find_column(schema: Sequence[Column], name: str) -> int:
    """The index of a column by its name. Raises `UserError` for an unknown one, naming the nearest."""
    names = [column.name for column in schema]
    if name not in names:
        raise UserError(nearest(name, names, "column"))
    return names.index(name)
