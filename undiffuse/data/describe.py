"""A data set in words, for the user to check before training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from undiffuse.condition.specification import Numbers, Text
from undiffuse.core.errors import SHORT, shown
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset

SHOWN = 80  # characters of a piece of text
LISTED = 10  # columns and labels that are listed before the rest is only counted


def describe(data: Dataset, called: str, lines: Sequence[str]) -> str:
    """A few lines: count and shape, what the values are (``lines``), labels with their counts, the reader's notes.

    ``called`` is what rows are called and what their sides count: "points of {} numbers".
    """
    size = " x ".join(str(side) for side in data.shape)
    counted = f"{len(data):,} {called.format(size)}"
    found = [
        f"{shown(data.name)}: {counted.removesuffix('s') if size == '1' else counted}",
        *(f"  {line}" for line in lines),
    ]
    if data.labels is not None:
        several = isinstance(data.label_names, dict)
        every = data.label_names.items() if isinstance(data.label_names, dict) else [("", data.label_names)]
        for column, (name, names) in zip(data.labels.reshape(len(data), -1).unbind(1), every, strict=True):
            counts = _counts(column, names)
            found.append(f"  {shown(name, SHORT)}: {counts}" if several else f"  {counts}")
    numbers = [(name, of) for name, of in data.specifications.items() if isinstance(of, Numbers)]
    found += [f"  {shown(name, SHORT)}: {_numbers(of)}" for name, of in numbers]
    texts = [(name, of) for name, of in data.specifications.items() if isinstance(of, Text) and of.reader]
    found += [f"  {shown(name, SHORT)}: {_texts(data, name, of)}" for name, of in texts]
    return "\n".join(found + [f"  note: {shown(note)}" for note in data.notes])


def pieces(data: Dataset) -> list[str]:
    """Some pieces of a text."""
    assert data.alphabet is not None
    return [repr(data.alphabet.decode(piece)[:SHOWN]) for piece in data.x[:: max(1, len(data) // 3)][:3]]


def cells(data: Dataset) -> list[str]:
    """Every column of a table."""
    return [_described(column, x) for column, x in zip(data.schema, data.x.unbind(1), strict=True)]


def _described(column: Column, x: Tensor) -> str:
    """A column of a table: its kind, what it holds, and how much is missing."""
    known = x[~x.isnan()]
    missing = f", {len(x) - len(known):,} missing" if len(known) < len(x) else ""
    if column.is_number and len(known):
        low, high = (column.write(float(value)) for value in (known.min(), known.max()))
        return f"{shown(column.name, SHORT)}: {column.kind}, {low} to {high}{missing}"
    listed = ", ".join(shown(category, SHORT) or "''" for category in column.categories[:4])
    more = f", ... ({len(column.categories):,})" if len(column.categories) > 4 else ""
    return f"{shown(column.name, SHORT)}: {column.kind}, {listed}{more}{missing}"


def _numbers(of: Numbers) -> str:
    """The range of a numeric condition."""
    return "a condition, " + ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(of.low, of.high, strict=True))


def _texts(data: Dataset, name: str, of: Text) -> str:
    """How many rows have captions, of how many words, and some of them."""
    assert data.conditions is not None and of.reader is not None
    values, present = data.conditions.entries[name]
    others = data.conditions.variants.get(name)
    each = f", up to {1 + others.shape[1]} each" if others is not None else ""
    some = ", ".join(repr(shown(of.say(row), SHORT)) for row in values[present][:3])
    return f"captions of {int(present.sum()):,}{each}, {of.reader.size:,} words: {some}"


def _counts(labels: Tensor, names: tuple[str, ...]) -> str:
    """The number of labels, and the count of each; -1 comes last."""
    unknown, *counts = (labels + 1).bincount(minlength=len(names) + 1).tolist()
    listed = [f"{shown(name, SHORT)} ({count:,})" for name, count in zip(names, counts, strict=True)]
    more = [f"and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
    more += [f"not known ({unknown:,})"] if unknown else []
    return f"{len(listed)} labels: {', '.join(listed[:LISTED] + more)}"


def pixels(data: Dataset) -> list[str]:
    """The range, mean and deviation of bytes."""
    counts = data.x.flatten().bincount(minlength=256).double()  # of 256 values, however many pixels
    values = torch.arange(256.0, dtype=torch.float64)
    mean = (counts * values).sum() / counts.sum()
    std = ((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt()
    return [f"values {int(data.x.min())} to {int(data.x.max())}, mean {mean:.1f}, deviation {std:.1f}"]


def columns(data: Dataset) -> list[str]:
    """The range, mean and deviation of the first columns."""
    every = data.x.flatten(1)
    x = every[:, :LISTED].double()
    names = data.columns or [f"column {k + 1}" for k in range(x.shape[1])]
    lines = [
        f"{name}: {column.min():.4g} to {column.max():.4g}, mean {column.mean():.4g}, deviation {column.std():.4g}"
        for name, column in zip((shown(name, SHORT) for name in names[:LISTED]), x.T, strict=True)
    ]
    return [*lines, f"and {every.shape[1] - LISTED} columns more"] if every.shape[1] > LISTED else lines
