"""Two data sets as one: the rows that a bridge makes, with those that it starts from; and what may be made of either.

What diffuses between them is numbers, so they are points, pictures or series of one shape.
"""

from dataclasses import replace

import torch

from undiffuse.condition.label import combined
from undiffuse.core.errors import UserError, nearest
from undiffuse.data.dataset import FORMS, Dataset


def between(start: Dataset | None, end: Dataset, paired: bool = False) -> Dataset:
    """The rows of ``end``, with those of ``start`` (None: noise), both without conditions.

    Raises UserError where kind or shape differ, where they are not numbers, or where pairs differ in count.
    """
    _require_numbers(end)
    plain = replace(end, conditions=None, specifications={})
    if start is None:
        if paired:
            raise UserError("noise has no pairs; leave --paired out, or start from data")
        return plain
    _require_numbers(start)
    if start.kind != end.kind:
        raise UserError(f"a bridge joins data of one kind: {start.name} is {start.kind}, and {end.name} {end.kind}")
    if start.shape != end.shape:
        of, to = (" x ".join(map(str, data.shape)) for data in (start, end))
        raise UserError(f"a bridge joins data of one shape: {start.name} is {of}, and {end.name} {to}")
    if paired and len(start) != len(end):
        counts = f"{len(start):,} rows of {start.name} and {len(end):,} of {end.name}"
        raise UserError(f"pairs are as many rows on both sides, not {counts}; without pairs: --method flow")
    note = f"a bridge to these starts from {start.name}: {len(start):,} rows{', paired' * paired}"
    start = replace(start, conditions=None, specifications={})
    return replace(plain, start=start, paired=paired, notes=(*end.notes, note))


def only(data: Dataset, label: str) -> Dataset:
    """The rows that have a label, without it. Raises UserError for data without labels, or without this one."""
    labels, names = combined(data.labels, data.label_names)
    if labels is None:
        raise UserError(f"{data.name}: has no labels, so that none can be chosen; leave {label!r} out")
    if label not in names:
        raise UserError(f"{data.name}: {nearest(label, names, 'label')}")
    rows = data.take(labels == names.index(label))
    return replace(rows, conditions=None, specifications={}, name=f"{data.name}, {label}")


def gray(data: Dataset) -> Dataset:
    """Pictures without their colours. Raises UserError for other data than pictures of bytes."""
    if data.x.ndim != 4 or data.x.dtype != torch.uint8:
        raise UserError(f"{data.name}: only pictures of bytes have colours that can be left out")
    x = data.x.float().mean(1, keepdim=True).round_().to(torch.uint8)
    return replace(data, x=x.expand_as(data.x).contiguous(), name=f"{data.name}, gray")


def standard_normal(like: Dataset, count: int, seed: int, split: str) -> Dataset:
    """Rows of N(0, I) of the kind and shape of other data; as many fresh ones for the test split."""
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    x = torch.randn(count, *like.shape, generator=generator)
    return Dataset(x, kind=like.kind, name="noise")


def _require_numbers(data: Dataset) -> None:
    if FORMS[data.kind].needs:
        raise UserError(f"{data.name}: a bridge joins points, pictures or series, not {data.kind}")
