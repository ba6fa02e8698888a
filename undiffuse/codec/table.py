"""The codec of tables: rows of any columns <-> numbers that are exactly normal, and tokens.

    a number, a date     a number, by the jittered quantile transform       (`undiffuse.codec.quantile`)
                         and, if cells are missing, a token: is it present? If not, the number is new noise
    a category           a token; a missing cell is a class of its own
                         and, if rare categories share a class, a number: the place among them
    a constant           nothing: it is left out, and put back

A row that diffuses is one float tensor (numbers + tokens,), as `undiffuse.process.mixed.Mixed` has it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from undiffuse.codec.codec import Codec, Encoding, Entries
from undiffuse.codec.quantile import Quantile, to_normal, to_uniform
from undiffuse.core.configuration import from_json
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise, Stream
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset
from undiffuse.process.mixed import RowShape


@dataclass(frozen=True)
class Place:
    """Where a column lies in the row that diffuses: which number and which token it is, if any."""

    number: int | None
    token: int | None
    classes: int = 0  # of the token; a missing cell is the last one


def places(schema: Sequence[Column]) -> tuple[Place, ...]:
    """A place for every column, numbered in the columns' order."""
    numbers = tokens = 0
    made = []
    for column in schema:
        has_number, classes = column.is_number or is_long(column), _classes(column)
        has_token = classes > 1
        made.append(Place(numbers if has_number else None, tokens if has_token else None, classes if has_token else 0))
        numbers, tokens = numbers + has_number, tokens + has_token
    return tuple(made)


def is_long(column: Column) -> bool:
    """Whether it has so many categories that the rare ones share a class."""
    return column.is_category and len(column.categories) > column.frequent + 1


def _classes(column: Column) -> int:
    if column.is_constant:
        return 0
    own = 1 if column.is_number else column.frequent + 1 if is_long(column) else len(column.categories)
    return own + (column.missing is not None)


class TableCodec(Codec):
    """Between a table as it is stored and rows that diffuse.

    Args:
        schema: The columns.
        distinct: How many values each of the numbers takes (see `Quantile`).

    Attributes:
        numbers: How many numbers a row has.
        classes: How many classes each of its tokens has.
    """

    kind = "table"
    no_likelihood = "of numbers beside tokens the likelihood is not measured"

    def __init__(self, schema: tuple[Column, ...], distinct: Sequence[int]) -> None:
        super().__init__()
        self.schema, self.places, self.shape = schema, places(schema), (len(schema),)
        self.quantiles = nn.ModuleList(map(Quantile, distinct))
        self.numbers = len(self.quantiles)
        self.classes = tuple(place.classes for place in self.places if place.token is not None)
        if not self.numbers and not self.classes:
            raise UserError("every column of this table is constant; there is nothing to learn")

    @classmethod
    def measure(cls, data: Dataset) -> Self:
        """The codec under which each number of ``data`` is standard normal."""
        measured = [
            Quantile.measure(_number(column, data.x[:, k]))
            for k, (column, place) in enumerate(zip(data.schema, places(data.schema), strict=True))
            if place.number is not None
        ]
        codec = cls(data.schema, [len(quantile.values) for quantile in measured])
        codec.quantiles = nn.ModuleList(measured)
        return codec

    @property
    def latent_shape(self) -> RowShape:
        """Of a row that diffuses."""
        return RowShape(self.numbers, self.classes)

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Rows (batch, columns) float64 -> rows that diffuse, (batch, numbers + tokens) float32.

        Jitter within ties and the noise in place of missing numbers come from ``noise``, or else from torch's
        generator.
        """
        low, high = x.new_zeros(len(x), self.numbers), x.new_ones(len(x), self.numbers)
        tokens = x.new_zeros(len(x), len(self.classes))
        for column, place, cells in zip(self.schema, self.places, x.unbind(1), strict=True):
            if place.number is not None:
                value = _number(column, cells)
                start, end = self._quantile(place.number).interval(value.nan_to_num())
                low[:, place.number] = start.masked_fill(value.isnan(), 0.0)
                high[:, place.number] = end.masked_fill(value.isnan(), 1.0)
            if place.token is not None:
                tokens[:, place.token] = _token(column, place, cells)
        numbers = to_normal(low, high, (noise or Stream()).uniform(low))
        return torch.cat([numbers, tokens], 1).float()

    def decode(self, z: Tensor) -> Tensor:
        """Back to rows (batch, columns) float64. ``decode(encode(x))`` is x, if x was measured."""
        x = torch.full((len(z), len(self.schema)), torch.nan, dtype=torch.float64, device=z.device)
        for k, (column, place) in enumerate(zip(self.schema, self.places, strict=True)):
            token = x.new_zeros(len(z)) if place.token is None else z[:, self.numbers + place.token].double()
            if column.categories:
                x[:, k] = token
            if place.number is not None:
                number = self._quantile(place.number).decode(to_uniform(z[:, place.number]))
                rare = column.frequent + number.round()
                x[:, k] = (
                    column.rounded(number) if column.is_number else torch.where(token < column.frequent, token, rare)
                )
            if place.token is not None and column.missing is not None:
                x[token == place.classes - 1, k] = torch.nan
        return x

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """The known cells as they diffuse: a number, a category as its token; for a missing cell, only its token."""
        z = self.encode(torch.where(known, x, 0.0) if complete else x, noise)  # a number that is to come is there
        fixed = torch.zeros(z.shape, dtype=torch.bool, device=z.device)
        most = max(self.classes, default=1)
        ruled_out = torch.zeros(len(x), len(self.classes), most, dtype=torch.bool, device=z.device)
        for k, (column, place) in enumerate(zip(self.schema, self.places, strict=True)):
            told = known[:, k]
            if place.number is not None:
                has_number = ~x[:, k].isnan() if column.is_number else x[:, k] >= column.frequent
                fixed[:, place.number] = told & has_number
            if place.token is not None:
                fixed[:, self.numbers + place.token] = told | (complete and column.is_number)
                if complete and column.missing is not None:
                    ruled_out[~told, place.token, place.classes - 1] = True
        return Entries(z, fixed, ruled_out)

    def facts(self) -> str:
        """All that an empty codec of this type needs, as JSON."""
        distinct = tuple(len(self._quantile(k).values) for k in range(self.numbers))
        return json.dumps({"schema": [asdict(column) for column in self.schema], "distinct": distinct})

    def seen(self, k: int) -> tuple[float, float]:
        """The least and the largest value of column ``k``, one of numbers."""
        number = self.places[k].number
        if number is None:
            raise UserError(f"{self.schema[k].name!r} is no column of numbers")
        values = self._quantile(number).values
        return float(values[0]), float(values[-1])

    def _quantile(self, k: int) -> Quantile:
        found = self.quantiles[k]
        assert isinstance(found, Quantile)
        return found


def _number(column: Column, cells: Tensor) -> Tensor:
    """The number of a column that diffuses: its value, or the place among its rare categories; else NaN."""
    if column.is_number:
        return cells
    return torch.where(cells >= column.frequent, cells - column.frequent, torch.nan)


def _token(column: Column, place: Place, cells: Tensor) -> Tensor:
    token = torch.zeros_like(cells) if column.is_number else cells
    if is_long(column):
        token = token.clamp_max(column.frequent)
    return torch.where(cells.isnan(), place.classes - 1, token)


@dataclass(frozen=True)
class _Facts:
    """What a model's file says of this codec."""

    schema: tuple[Column, ...]
    distinct: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.distinct, default=1) < 1:
            raise UserError("every column of numbers takes at least one value")


@dataclass(frozen=True)
class Tabular(Encoding):
    """A table's rows: numbers by their quantiles, categories as tokens."""

    kinds: ClassVar[tuple[str, ...]] = ("table",)

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> TableCodec:
        """The codec that a file describes, to be loaded. Raises UserError for an invalid description."""
        self.check_kind(kind)
        told = from_json(_Facts, facts or "", "codec")
        if shape != (len(told.schema),):
            raise UserError(f"{len(told.schema)} columns of a table for rows of shape {shape}")
        if len(told.distinct) != sum(place.number is not None for place in places(told.schema)):
            raise UserError(f"{len(told.distinct)} counts of values are not one for every column of numbers")
        return TableCodec(told.schema, told.distinct)

    def measure(self, data: Dataset) -> TableCodec:
        """The codec of this table. Raises UserError for data that is not a table."""
        self.check_kind(data.kind)
        return TableCodec.measure(data)
