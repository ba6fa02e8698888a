"""Error bars: a number measured several times, as a mean and its standard error."""

import math
from collections.abc import Callable, Iterable
from statistics import fmean, stdev
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean over ``repeats`` independent values, and its standard error: nan for a single value."""

    mean: float
    error: float
    repeats: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if math.isnan(self.error) else f"{self.mean:.4g} ± {self.error:.2g}"


def estimate(values: Iterable[float]) -> Estimate:
    """The mean of ``values``, with error s / sqrt(repeats)."""
    known = list(values)
    error = stdev(known) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return Estimate(fmean(known), error, len(known))


def over_seeds(measure: Callable[[int], float], seeds: Iterable[int]) -> Estimate:
    """``measure(seed)`` for each of ``seeds``: draw samples with the seed, and measure them."""
    return estimate(measure(seed) for seed in seeds)
