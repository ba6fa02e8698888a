"""Columns as conditions: a data set of the other columns, conditioned on these.

conditioned(data, ("age", "height"))     points or a table of the other columns, given these two
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Labels, Numbers, Specification
from undiffuse.core.errors import UserError, nearest
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset

CONDITION = "condition."  # what the name of a condition's column or array begins with, in a file of samples
Specified = tuple[dict[str, Entry], dict[str, Specification]]


def conditioned(data: Dataset, names: Sequence[str]) -> Dataset:
    """The data without these columns, which become conditions; conditions that it already has stay.

    A column of numbers or dates is a condition of numbers, one of categories a label; a missing cell is absent.

    Raises:
        UserError: An unknown column, naming the nearest; no column left; pictures, whose conditions are in a
            ``conditions.csv`` beside them; a column of which no cell is known.
    """
    known = data.columns if data.kind in ("points", "table") else ()
    wanted = [name for name in dict.fromkeys(names) if name not in data.specifications]
    for name in wanted:
        if name not in known:
            raise UserError(f"{data.name}: {nearest(name, [*known, *data.specifications], 'column')}")
    if not wanted:
        return data
    left = [k for k, name in enumerate(known) if name not in wanted]
    if not left:
        raise UserError(f"{data.name}: every column is a condition; leave one to learn")
    columns = data.schema or tuple(Column(name, "number") for name in known)
    places = [known.index(name) for name in wanted]
    try:
        entries, specifications = of_columns([columns[k] for k in places], data.x[:, places].double())
    except UserError as error:
        raise UserError(f"{data.name}: {error}") from None
    return replace(
        data,
        x=data.x[:, left],
        columns=tuple(known[k] for k in left),
        schema=tuple(data.schema[k] for k in left) if data.schema else (),
        conditions=Conditions(dict(data.conditions.entries if data.conditions else {}) | entries),
        specifications=dict(data.specifications) | specifications,
    )


def of_columns(columns: Sequence[Column], x: Tensor) -> Specified:
    """Values x (count, columns) float64, as each column has them, as entries and what they mean.

    Raises UserError for a column of which no cell is known.
    """
    entries: dict[str, Entry] = {}
    specifications: dict[str, Specification] = {}
    for column, values in zip(columns, x.unbind(1), strict=True):
        present = ~values.isnan()
        if not present.any():
            raise UserError(f"the condition {column.name!r} is missing in every row; leave it out")
        if column.is_number:
            numbers = Numbers.measure([column.name], values[:, None])
            specifications[column.name], entries[column.name] = numbers, numbers.entry(values[:, None])
        else:
            specifications[column.name] = Labels(tuple(column.categories))
            entries[column.name] = Entry(values.nan_to_num().long(), present)
    return entries, specifications


def together(conditions: Conditions | None, specifications: Mapping[str, Specification], more: Specified) -> Specified:
    """Entries and their specifications, joined with others. Raises UserError for a name that both have."""
    entries = dict(conditions.entries) if conditions else {}
    if twice := entries.keys() & more[0].keys():
        raise UserError(f"two conditions are called {min(twice)!r}; rename one")
    return entries | more[0], dict(specifications) | more[1]


def with_numbers(data: Dataset, beside: Mapping[str, np.ndarray]) -> Dataset:
    """The data with conditions of numbers, (count,) or (count, columns) each, NaN where they are not known.

    One that is known of no row is left out. Raises UserError for infinite numbers, or too few or many of them.
    """
    entries: dict[str, Entry] = {}
    specifications: dict[str, Specification] = {}
    for name, values in beside.items():
        if values.shape[:1] != (len(data),) or not values.size:
            raise UserError(f"{data.name}: {values.shape} values of the condition {name!r} for {len(data)} rows")
        x = torch.from_numpy(values.astype(np.float64)).reshape(len(data), -1)
        if not x.isnan().all(0).any():
            columns = [name] if x.shape[1] == 1 else [f"{name}{k + 1}" for k in range(x.shape[1])]
            numbers = Numbers.measure(columns, x)
            specifications[name], entries[name] = numbers, numbers.entry(x)
    if not entries:
        return data
    every, told = together(data.conditions, data.specifications, (entries, specifications))
    return replace(data, conditions=Conditions(every), specifications=told)


def rows_of(count: int, rows: Tensor, more: Specified) -> Specified:
    """Entries of some ``rows`` of ``count``, absent from all others."""
    entries = {}
    for name, (values, present) in more[0].items():
        blank = values.new_zeros(count, *values.shape[1:])
        entries[name] = Entry(blank.index_copy(0, rows, values), present.new_zeros(count).index_put((rows,), present))
    return entries, more[1]
