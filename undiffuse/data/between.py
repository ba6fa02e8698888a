"""Two data sets as one: the rows that a bridge makes, with those that it starts from; and what may be made of either.

What diffuses between them is numbers, so they are points, pictures or series of one shape. Conditions may go across: a
row then becomes one of the same label.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from undiffuse.condition.label import combined
from undiffuse.condition.specification import Labels, Specification
from undiffuse.core.errors import SHORT, UserError, nearest, shown
from undiffuse.data.dataset import FORMS, Dataset


def between(start: Dataset | None, end: Dataset, paired: bool = False, across: Sequence[str] = ()) -> Dataset:
    """The rows of ``end``, with those of ``start`` (None: noise), both with the conditions that go ``across`` alone.

    A condition of a pair is its end's. Without pairs, both data sets need the same labels; rows without are left out.

    Raises UserError where kind or shape differ, where they are not numbers, where pairs differ in count, or for a
    condition that cannot go across.
    """
    _require_numbers(end)
    plain = _with_only(end, across)
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
    if paired:
        start = replace(start, conditions=plain.conditions, specifications=plain.specifications)
    else:
        plain, start = _of_the_same_labels(plain, _with_only(start, across))
    return replace(plain, start=start, paired=paired, notes=(*end.notes, note))


def _with_only(data: Dataset, names: Sequence[str]) -> Dataset:
    """The same rows with these conditions alone. Raises UserError for one that they have not."""
    for name in names:
        if name not in data.specifications:
            known = nearest(name, data.specifications, "condition") if data.specifications else "has no conditions"
            raise UserError(f"{data.name}: {known}; what goes across a bridge, both of its ends must have")
    kept = data.conditions.only(*names) if data.conditions else None
    return replace(data, conditions=kept, specifications={name: data.specifications[name] for name in names})


def _of_the_same_labels(end: Dataset, start: Dataset) -> tuple[Dataset, Dataset]:
    """Both, the rows that have all labels. Raises UserError for other conditions than labels of the same names, and for
    a label that no row of the start has."""
    if end.conditions is None or start.conditions is None:
        return end, start
    for name, of in end.specifications.items():
        if not isinstance(of, Labels):
            raise UserError(f"without pairs only labels go across a bridge, and {name} is none; leave it out")
        if of != (other := start.specifications[name]):
            raise UserError(
                f"{name} is not the same on both sides: {_said(other)} in {start.name}, {_said(of)} in {end.name}"
            )
    end, start = end.take(end.conditions.complete()), start.take(start.conditions.complete())
    (mine, names), (theirs, _) = (combined(data.labels, data.label_names) for data in (end, start))
    assert mine is not None and theirs is not None
    if len(missing := mine[~torch.isin(mine, theirs)]):
        raise UserError(f"{start.name}: has no row of the label {names[int(missing[0])]!r}, which {end.name} has")
    return end, start


def _said(of: Specification) -> str:
    """What a condition may be, shortly."""
    return shown(", ".join(of.names), SHORT) if isinstance(of, Labels) else "no labels"


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
