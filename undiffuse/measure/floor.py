"""The floor: what a measure gives for perfect samples, which is never zero.

Other real data in the samples' place, as many rows, drawn in the same way. A sampler at its floor cannot be told from
the data by this measure at these counts; a number without its floor says how many samples there were as much as how
good they are.

What stands for perfect samples are rows that were trained on, held against the very rows that the samples are held
against (`in_their_place`): where held-out data differs from training data (the end of a text, other writers), it
differs from the best of samples too, and the floor says by how much. Where there are no such rows, or where they show
(to features that were learned on them), real data is held against other real data: `halves`.
"""

from collections.abc import Callable, Sequence
from statistics import median, stdev
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from undiffuse.core.errors import UserError

Pair = tuple[Tensor, Tensor]  # what is measured, and what it is held against: rows (count, *shape) each


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
    """Draws of as many rows of ``train``, each beside ``held_out (count, *shape)``, the rows that samples are held to.

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
    """Held-out rows, and as many training rows beside them as ``count`` lacks: what is drawn from, for `halves`."""
    lacking = max(0, count - len(held_out))
    return torch.cat([held_out, draw(train, lacking, generator).to(held_out)]) if lacking else held_out


def summarise(values: Sequence[float]) -> Floor:
    """Median and standard deviation of what several draws gave."""
    return Floor(median(values), stdev(values) if len(values) > 1 else float("nan"))
