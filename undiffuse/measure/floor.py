"""The floor: the value of a measure for perfect samples, which is never zero.

It is the value for other real data in place of the samples, as many rows, drawn in the same way. If a sampler is at its
floor, this measure cannot tell its samples from data at these counts. A number without its floor depends on the number
of samples as much as on their quality.

In place of the samples stand training rows, compared with the same held-out rows as the samples (`in_their_place`). If
held-out data differs from training data (the end of a text, other writers), it differs from the best samples too, and
the floor says by how much. If there are no such rows, or if features were learned on them, real data is compared with
other real data: `halves`.
"""

from collections.abc import Callable, Sequence
from statistics import median, stdev
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from undiffuse.core.errors import UserError

Pair = tuple[Tensor, Tensor]  # what is measured, and what it is compared with: rows (count, *shape) each


class Floor(NamedTuple):
    """The median over several draws, and their standard deviation: nan for a single draw."""

    median: float
    spread: float


def floor(
    measure: Callable[[Tensor, Tensor], float], real: Tensor, count: int, *, draws: int = 5, seed: int = 0
) -> Floor:
    """``measure`` between two disjoint draws, ``count`` rows each, of ``real (m, *shape)``; m at least 2 ``count``."""
    return summarise([measure(*pair) for pair in halves(real, count, draws, Generator().manual_seed(seed))])


def halves(real: Tensor, count: int, draws: int, generator: Generator) -> list[Pair]:
    """Pairs of disjoint draws, ``count`` rows each, of ``real (m, *shape)``.

    Raises UserError for m below 2 ``count``.
    """
    if draws < 1 or not 0 < count <= len(real) // 2:
        raise UserError(f"two disjoint draws of {count} rows need {2 * count}; there are {len(real)}")
    both = (draw(real, 2 * count, generator) for _ in range(draws))
    return [(rows[:count], rows[count:]) for rows in both]


def in_their_place(train: Tensor, held_out: Tensor, draws: int, generator: Generator) -> list[Pair]:
    """Draws of as many rows of ``train``, each beside ``held_out (count, *shape)``, the rows that samples are compared
    with.

    Raises UserError for fewer than ``count`` rows of ``train``.
    """
    count = len(held_out)
    if draws < 1 or len(train) < count:
        raise UserError(f"a draw of {count} training rows needs as many; there are {len(train)}")
    return [(draw(train, count, generator).to(held_out), held_out) for _ in range(draws)]


def draw(rows: Tensor, count: int, generator: Generator) -> Tensor:
    """``count`` of ``rows (n, *shape)``, or all, in random order."""
    return rows[torch.randperm(len(rows), generator=generator)[:count].to(rows.device)]


def filled_up(held_out: Tensor, train: Tensor, count: int, generator: Generator) -> Tensor:
    """Held-out rows, filled up with training rows to ``count`` rows, from which `halves` draws."""
    lacking = max(0, count - len(held_out))
    return torch.cat([held_out, draw(train, lacking, generator).to(held_out)]) if lacking else held_out


def summarise(values: Sequence[float]) -> Floor:
    """Median and standard deviation over several draws."""
    return Floor(median(values), stdev(values) if len(values) > 1 else float("nan"))
