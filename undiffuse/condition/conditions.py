"""The conditions of one batch: named entries, each of them present or absent in each row.

    conditions = Conditions({"label": Entry(values, present), "age": Entry(...)})
    conditions[rows]   conditions.to(device)   conditions.drop(noise, 0.1)   conditions.without("age")

This module moves, indexes and joins conditions, and drops them for classifier-free guidance (Ho and Salimans 2021).
What the entries mean is in their specifications (`undiffuse.condition.specification`).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise


class Entry(NamedTuple):
    """One condition of a batch. In rows in which it is absent, its values have no meaning, but are finite."""

    values: Tensor  # (batch, ...), as the specification says
    present: Tensor  # (batch,) bool

    def each(self, change: Callable[[Tensor], Tensor]) -> "Entry":
        """The same change of both tensors."""
        return Entry(change(self.values), change(self.present))

    def or_nan(self) -> np.ndarray:
        """The values, NaN where they are absent."""
        absent = ~self.present.view(-1, *[1] * (self.values.ndim - 1))
        return self.values.masked_fill(absent, math.nan).cpu().numpy()


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of a batch, by name.

    ``variants`` are other values that a row may have instead, (batch, several, ...): other captions of a picture.

    Raises:
        UserError: No entries, entries of different lengths, or ``present`` that is not (batch,) bool.
    """

    entries: Mapping[str, Entry]
    variants: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise UserError("conditions need at least one entry; for none, pass None")
        count = next(iter(self.entries.values())).present.shape[0]  # not len, which a graph cannot say
        for name, (values, present) in self.entries.items():
            if present.dtype != torch.bool or present.shape != values.shape[:1] or values.shape[0] != count:
                raise UserError(
                    f"the condition {name!r} has {tuple(values.shape)} values, {tuple(present.shape)} {present.dtype} "
                    f"of them present, in a batch of {count}; expected one value and one bool for each row"
                )

    def __len__(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.entries.values())).present)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """Some of the rows, by an index, a mask or a slice."""
        return self._each(lambda x: x[rows])

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same on a device."""
        return self._each(lambda x: x.to(device, non_blocking=non_blocking))

    def repeat(self, times: int) -> Self:
        """The whole batch, ``times`` times."""
        return self._each(lambda x: x.repeat(times, *[1] * (x.ndim - 1)))

    @classmethod
    def cat(cls, batches: Sequence["Conditions"]) -> "Conditions":
        """Batches one after the other. Raises UserError if their names differ."""
        first, *rest = batches
        for other in rest:
            if other.entries.keys() != first.entries.keys():
                raise UserError(f"conditions of {_listed(first)} cannot be joined to those of {_listed(other)}")
        return cls({name: _joined([batch.entries[name] for batch in batches]) for name in first.entries})

    def without(self, *names: str) -> Self:
        """All rows with these entries absent; without names, every entry."""
        return type(self)(
            {
                name: Entry(entry.values, torch.zeros_like(entry.present)) if not names or name in names else entry
                for name, entry in self.entries.items()
            }
        )

    def replaced(self, other: "Conditions") -> Self:
        """All rows with the entries of ``other``, a batch of one row, in place of their own."""
        new = {name: entry.each(lambda x: x.expand(len(self), *x.shape[1:])) for name, entry in other.entries.items()}
        return type(self)({name: new.get(name, entry) for name, entry in self.entries.items()})

    def only(self, *names: str) -> "Conditions | None":
        """The entries of these names; None if there are none."""
        entries = {name: self.entries[name] for name in names if name in self.entries}
        return Conditions(entries) if entries else None

    def drop(self, noise: Noise, share: float, share_of_each: float = 0.0, kept: Collection[str] = ()) -> Self:
        """Condition dropout: each row loses all of its entries with probability ``share``, but those that are ``kept``.

        In addition, each entry of each row is dropped with probability ``share_of_each``, so that a network also learns
        to be conditioned on only some of the entries.
        """
        conditions, device = self, next(iter(self.entries.values())).present.device
        if share > 0:
            dropped = noise.uniform(torch.empty(len(self), device=device)) < share
            conditions = conditions._where(~dropped[:, None].expand(-1, len(self.entries)), kept)
        if share_of_each > 0:
            each = noise.uniform(torch.empty(len(self), len(self.entries), device=device))
            conditions = conditions._where(each >= share_of_each, kept)
        return conditions

    def varied(self, noise: Noise) -> Self:
        """Each row with one of its variants, or what it has, all equally likely; then there are no variants left."""
        if not self.variants:
            return self
        entries = dict(self.entries)
        for name, others in self.variants.items():
            values, present = entries[name]
            chosen = (noise.uniform(torch.empty(len(values), device=values.device)) * (others.shape[1] + 1)).long()
            every = torch.cat([values[:, None], others.to(values.dtype)], 1)
            entries[name] = Entry(every[torch.arange(len(values), device=values.device), chosen], present)
        return type(self)(entries)

    def with_absent(self, blanks: Mapping[str, Tensor]) -> Self:
        """With further entries, absent in every row, where there are none of these names; ``blanks`` are one value
        each."""
        like = next(iter(self.entries.values())).present
        absent = {
            name: Entry(blank.to(like.device).expand(len(like), *blank.shape), torch.zeros_like(like))
            for name, blank in blanks.items()
            if name not in self.entries
        }
        return type(self)({**self.entries, **absent}, self.variants) if absent else self

    def complete(self) -> Tensor:
        """Which rows have all of their entries, (batch,) bool."""
        return torch.stack([entry.present for entry in self.entries.values()]).all(0)

    def _where(self, present: Tensor, kept: Collection[str]) -> Self:
        """Entries stay present only where ``present`` (batch, entries) is true; those that are ``kept`` stay."""
        columns = zip(self.entries.items(), present.unbind(1), strict=True)
        return type(self)(
            {
                name: entry if name in kept else Entry(entry.values, entry.present & column)
                for (name, entry), column in columns
            }
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        entries = {name: entry.each(change) for name, entry in self.entries.items()}
        return type(self)(entries, {name: change(others) for name, others in self.variants.items()})


def _joined(entries: Sequence[Entry]) -> Entry:
    return Entry(torch.cat([entry.values for entry in entries]), torch.cat([entry.present for entry in entries]))


def _listed(conditions: Conditions) -> str:
    return ", ".join(conditions.entries)
