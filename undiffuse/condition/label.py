"""What a sample may be asked to be: one label, or several attributes with a label each, by name or by number.

    names of one kind of label       ("cat", "dog")                                     labels (count,)
    names of several attributes      {"digit": ("0", "1"), "colour": ("red", "blue")}   labels (count, attributes)

Labels are int64 indices into their names, and -1 is "not known" in data, "not told" where samples are asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, nearest

Names = tuple[str, ...] | dict[str, tuple[str, ...]]
Classes = int | tuple[int, ...]  # how many labels there are, of each attribute if there are several
One = int | str
Asked = Mapping[str, One | Sequence[One]]  # of each attribute
Label = One | Asked | Sequence[One | Asked] | Tensor
NONE = (-1, "-1", "none")


def words(text: str) -> list[str] | dict[str, list[str]]:
    """``3,5``, or ``digit=3,5,colour=red`` of several attributes: a word without = is of the attribute before it.

    Raises UserError for a first word without an attribute, where others have one.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if "=" not in text:
        return found
    asked: dict[str, list[str]] = {}
    name = ""
    for word in found:
        before, equals, value = word.partition("=")
        name = before.strip() if equals else name
        if not name:
            raise UserError(f"of which attribute is {word!r}? say ATTRIBUTE={word}")
        asked.setdefault(name, []).append(value.strip() if equals else word)
    return asked


def classes(names: Names) -> Classes:
    """How many labels a network must tell apart; 0 for data without."""
    return tuple(len(values) for values in names.values()) if isinstance(names, dict) else len(names)


def read_labels(names: Names, label: Label | None) -> Tensor:
    """What is asked for, as indices: (entries,), or (entries, attributes) where there are several.

    ``label`` is a name or a number, or a list of them. Of several attributes it is a mapping, ``{"digit": "3"}``, or
    a list of mappings; an attribute may have a list, and all combinations are meant. An attribute that is left out,
    or all of it where ``label`` is None, is every one of its labels; "none" or -1 is no label. A tensor is indices.

    Raises:
        UserError: An unknown label or attribute, naming the nearest; an empty list.
    """
    rows: list[Any]
    if isinstance(names, dict):
        rows = [row for entry in _entries(label, names) for row in _rows(names, entry)]
    else:
        rows = [index(names, entry) for entry in _entries(label, names)]
    if not rows:
        raise UserError("an empty list of labels")
    return torch.tensor(rows)


def index(names: tuple[str, ...], label: Any, what: str = "label") -> int:
    """The index of a label by its name or number, -1 for none. Raises UserError, naming the nearest."""
    if isinstance(label, Mapping):
        raise UserError(f"there is one kind of label here, without attributes; name it alone, as {names[0]}")
    if label in names:
        return names.index(str(label))
    if label in NONE:
        return -1
    if str(label).isdecimal() and int(label) < len(names):
        return int(label)
    raise UserError(f"{nearest(str(label), names, what)} (or a number from 0 to {len(names) - 1}, or none)")


def negative_of(names: Names, label: Label | None) -> int | tuple[int | None, ...]:
    """What to steer away from: one label; or of each attribute one, None for what is left out. None is no label, -1.

    Raises UserError for an unknown label, or several.
    """
    if label is None or (isinstance(label, int | str) and label in NONE):
        return -1
    entries: list[Any] = [label] if isinstance(label, int | str | Mapping) else list(label)
    if len(entries) != 1:
        raise UserError(f"one negative label, not {len(entries)}")
    if isinstance(names, dict):
        next(_rows(names, entries[0]), None)  # whether it is one
        asked = {name: _indices(names[name], one, name) for name, one in entries[0].items()}
        if any(len(indices) != 1 for indices in asked.values()):
            raise UserError("one negative label of each attribute")
        return tuple(asked[name][0] if name in asked else None for name in names)
    return index(names, entries[0])


def combined(labels: Tensor | None, names: Names) -> tuple[Tensor | None, tuple[str, ...]]:
    """Several attributes as one kind of label, whose names are the combinations ("3 red"): (count,), and the names.

    A row of which any attribute is not known has none, -1. One kind of label is what it was.
    """
    if labels is None:
        return None, ()
    if not isinstance(names, dict):
        return labels, names
    one = torch.zeros_like(labels[:, 0])
    for column, values in zip(labels.unbind(1), names.values(), strict=True):
        one = one * len(values) + column
    return one.masked_fill((labels < 0).any(1), -1), tuple(map(" ".join, product(*names.values())))


def known(labels: Tensor) -> Tensor:
    """Which rows have all their labels, (count,) bool."""
    return (labels >= 0).reshape(len(labels), -1).all(1)


def _entries(label: Label | None, names: Names) -> Iterator[Any]:
    """The entries of a list, or the one there is; rows of a tensor as mappings."""
    if label is None:
        yield from [{}] if isinstance(names, dict) else range(len(names))
    elif isinstance(label, Tensor):
        yield from _of_tensor(label, names)
    else:
        yield from [label] if isinstance(label, int | str | Mapping) else label


def _of_tensor(label: Tensor, names: Names) -> Iterable[Any]:
    if not isinstance(names, dict):
        return label.reshape(-1).tolist()
    if label.ndim == 0 or label.shape[-1] != len(names):
        raise UserError(f"labels of {', '.join(names)} are (count, {len(names)}), not {tuple(label.shape)}")
    return [dict(zip(names, row, strict=True)) for row in label.reshape(-1, len(names)).tolist()]


def _rows(names: dict[str, tuple[str, ...]], asked: Any) -> Iterator[tuple[int, ...]]:
    """The combinations that a mapping means, an index of each attribute."""
    if asked in NONE:
        asked = dict.fromkeys(names, -1)
    if not isinstance(asked, Mapping):
        example = ",".join(f"{name}={values[0]}" for name, values in names.items())
        raise UserError(f"a label here is of {' and '.join(names)}: {example}, not {asked!r}")
    for name in asked:
        if name not in names:
            raise UserError(nearest(name, names, "attribute"))
    return product(*(_indices(names[name], asked.get(name), name) for name in names))


def _indices(names: tuple[str, ...], asked: One | Sequence[One] | None, attribute: str) -> list[int]:
    if asked is None:
        return list(range(len(names)))
    return [index(names, one, attribute) for one in ([asked] if isinstance(asked, int | str) else asked)]
