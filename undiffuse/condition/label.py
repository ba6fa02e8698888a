"""Labels as files and drawings have them, and their conversion to and from conditions.

    names of one kind of label       ("cat", "dog")                                     labels (count,)
    names of several attributes      {"digit": ("0", "1"), "colour": ("red", "blue")}   labels (count, attributes)

Here labels are int64 indices into their names, and -1 is none. One kind of label is the condition "label"; an attribute
is the condition of its own name.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.read import LABEL
from undiffuse.condition.specification import Labels, Specification, Specifications
from undiffuse.core.errors import UserError

Names = tuple[str, ...] | dict[str, tuple[str, ...]]


def specifications_of(names: Names) -> dict[str, Specification]:
    """The specifications of such labels as conditions; empty without names."""
    every = names if isinstance(names, dict) else {LABEL: names}
    return {name: Labels(tuple(values)) for name, values in every.items() if values}


def conditions_of(labels: Tensor | None, names: Names) -> Conditions | None:
    """Labels as conditions; None without labels."""
    if labels is None or not names:
        return None
    columns = dict(zip(names, labels.unbind(1), strict=True)) if isinstance(names, dict) else {LABEL: labels}
    entries = {name: Entry(columns[name].clamp(min=0), columns[name] >= 0) for name in specifications_of(names)}
    return Conditions(entries) if entries else None


def labelled(labels: Tensor | None, names: Names = ()) -> tuple[Conditions | None, dict[str, Specification]]:
    """Labels and their names as the conditions of a data set; names that are not known are "0", "1", ...

    Nothing where no label is named. Raises UserError for labels that are not (count,) int64, or (count, attributes), or
    out of range.
    """
    if labels is None:
        return None, {}
    names = names or _counted(labels)
    several = isinstance(names, dict)
    if labels.dtype != torch.int64 or labels.ndim != 1 + several or (several and labels.shape[1] != len(names)):
        form = (
            f"(count, {len(names)}) int64, one for each attribute of a row" if several else "(count,) int64, one a row"
        )
        raise UserError(f"labels are {form}, not {tuple(labels.shape)} {labels.dtype}")
    every = names.values() if isinstance(names, dict) else [names]
    for column, known_names in zip(labels.reshape(len(labels), -1).unbind(1), every, strict=True):
        low, high = int(column.min()), int(column.max())
        if low < -1 or high >= len(known_names):
            allowed = f"{len(known_names)} names allow 0 to {len(known_names) - 1}, and -1 is not known"
            raise UserError(f"labels run from {low} to {high}; {allowed}")
    return conditions_of(labels, names), specifications_of(names)


def _counted(labels: Tensor) -> Names:
    """Names of labels that have none: "0", "1", ...; of the attributes "1", "2", ... of several."""
    if labels.ndim == 2 and len(labels):
        return {str(k + 1): _numbers(column) for k, column in enumerate(labels.unbind(1))}
    return _numbers(labels)


def _numbers(labels: Tensor) -> tuple[str, ...]:
    return tuple(str(k) for k in range(int(labels.max()) + 1))


def names_of(specifications: Specifications) -> Names:
    """The names of those conditions that are labels."""
    names = {name: of.names for name, of in specifications.items() if isinstance(of, Labels)}
    return names[LABEL] if names.keys() == {LABEL} else names or ()


def labels_of(conditions: Conditions | None, specifications: Specifications) -> Tensor | None:
    """The inverse of `conditions_of`: (count,), or (count, attributes) for several; None without labels."""
    names = names_of(specifications)
    if conditions is None or not names:
        return None
    entries = [conditions.entries[name] for name in (names if isinstance(names, dict) else [LABEL])]
    columns = [values.masked_fill(~present, -1) for values, present in entries]
    return torch.stack(columns, 1) if isinstance(names, dict) else columns[0]


def written(conditions: Conditions | None, specifications: Specifications) -> dict[str, np.ndarray]:
    """Every condition by its name, as a file has it beside labels; without the one kind of label, if there is one."""
    entries = conditions.entries if conditions else {}
    others = {name: of for name, of in specifications.items() if not (name == LABEL and isinstance(of, Labels))}
    return {name: of.written(entries[name]) for name, of in others.items() if name in entries}


def combined(labels: Tensor | None, names: Names) -> tuple[Tensor | None, tuple[str, ...]]:
    """Several attributes as one kind of label, whose names are the combinations ("3 red"): (count,), and the names.

    A row of which any attribute is not known has none, -1. One kind of label is what it was.
    """
    if labels is None:
        return None, ()
    if not isinstance(names, Mapping):
        return labels, names
    one = torch.zeros_like(labels[:, 0])
    for column, values in zip(labels.unbind(1), names.values(), strict=True):
        one = one * len(values) + column
    return one.masked_fill((labels < 0).any(1), -1), tuple(map(" ".join, product(*names.values())))


def known(labels: Tensor) -> Tensor:
    """Which rows have all their labels, (count,) bool."""
    return (labels >= 0).reshape(len(labels), -1).all(1)
