"""The floor: what a measure gives for perfect samples, which is never zero.

Real data against other real data, of the same counts. A sampler at its floor cannot be told from the data by this
measure at these counts; a number without its floor says how many samples there were as much as how good they are.
"""

from collections.abc import Callable, Sequence
from statistics import median, stdev
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError

T = TypeVar("T")


class Floor(NamedTuple):
    """The median over several draws, and their standard deviation: nan for a single draw."""

    median: float
    spread: float


def floor(
    measure: Callable[[Tensor, Tensor], float], real: Tensor, count: int, *, draws: int = 5, seed: int = 0
) -> Floor:
    """``measure`` between two disjoint draws, ``count`` rows each, of ``real (m, *shape)``; m at least 2 ``count``."""
    return summarise(real_against_real(measure, real, count, draws=draws, seed=seed))


def real_against_real(
    measure: Callable[[Tensor, Tensor], T], real: Tensor, count: int, *, draws: int = 5, seed: int = 0
) -> list[T]:
    """What ``measure`` gives on each of ``draws`` pairs of disjoint draws, for measures of several numbers too."""
    if draws < 1 or not 0 < count <= len(real) // 2:
        raise UserError(f"two disjoint draws of {count} rows need {2 * count}; there are {len(real)}")
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(real), generator=generator).to(real.device) for _ in range(draws)]
    return [measure(real[order[:count]], real[order[count : 2 * count]]) for order in orders]


def summarise(values: Sequence[float]) -> Floor:
    """Median and standard deviation of what several draws gave."""
    return Floor(median(values), stdev(values) if len(values) > 1 else float("nan"))
