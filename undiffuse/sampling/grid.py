"""Which times to visit: a grid is a function (schedule, count) -> count + 1 strictly falling times, the last one 0.

Grids *in time* pick entries of a table of T: entry i is t = i/T, i = 1 ... T, and the data is t = 0. A schedule in
continuous time is read as if it had T = 1000, without rounding to them. Grids *in noise* pick levels of sigma/alpha,
and ask the schedule when they are reached.

All are built from whole numbers, so the count is exact for every count. If a grid rounds to entries and two would
coincide, it keeps the unrounded numbers: a table is a function of continuous time too (`process.table`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.process.pinned import SymmetricClock
from undiffuse.process.schedule import Schedule

MOST = 1_000_000  # steps


class Grid(Protocol):
    """Chooses times."""

    def __call__(self, schedule: Schedule, count: int) -> tuple[float, ...]:
        """count + 1 strictly falling times, the last one 0.0. Raises `UserError` unless count is a whole number > 0."""
        ...


# ---------------------------------------------------------------------------------------------------- in time


def trailing(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Down from t = 1 in equal steps: T, T - T/N, ..., T/N (Lin et al. 2023, table 2)."""
    total = _entries(schedule, count)
    return _of_entries(schedule, [total * i / count for i in range(count, 0, -1)], round)


def leading(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Up from t = 1/T in strides of floor(T/N), as DDIM's code. It sees t = 1 only if N = T (Lin et al. 2023).

    Raises `UserError` for more steps than entries: the stride would be 0.
    """
    total = _entries(schedule, count)
    if count > total:
        raise UserError(f"leading takes at most {total} steps here, not {count}; trailing takes any number")
    return _of_entries(schedule, [1 + total // count * i for i in range(count - 1, -1, -1)], round)


def slowing(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Down from t = 1 in steps that shorten towards the data: t = (1 - i/N)^(3/2).

    For a bridge with noise. Its last step goes to E[x_0 | x_t], and what that mean lacks of the spread of x_0 grows
    with the step. Of N(0, 1) to itself, sigma = 1, 20 even steps lose 3.4% of the variance, and these gain .5%.
    """
    total = _entries(schedule, count)
    return _of_entries(schedule, [total * (i / count) ** 1.5 for i in range(count, 0, -1)], round)


def symmetric(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Down from t = 1 in even steps of I2SB's clock, shorter near both ends of a bridge (Liu et al. 2023)."""
    total = _entries(schedule, count)
    times = SymmetricClock().time(torch.arange(count, 0, -1, dtype=torch.float64) / count)
    return _of_entries(schedule, (total * times).tolist(), round)


def linspace(schedule: Schedule, count: int) -> tuple[float, ...]:
    """From t = 1 to t = 1/T, both included, in equal steps (N = 1: t = 1)."""
    total = _entries(schedule, count)
    return _of_entries(schedule, [total - (total - 1) * i / max(count - 1, 1) for i in range(count)], round)


def quadratic(schedule: Schedule, count: int) -> tuple[float, ...]:
    """DDIM's "quad", fine near the data: entries 1 + floor(0.8 T (i/(N - 1))^2) (Song, Meng and Ermon 2021, D.3).

    It starts at 0.8 T, as theirs does: with DDPM's schedule sigma/alpha is 24 there; other schedules may need more.
    """
    total, last = _entries(schedule, count), max(count - 1, 1)
    return _of_entries(schedule, [1 + 0.8 * total * ((last - i) / last) ** 2 for i in range(count)], math.floor)


# --------------------------------------------------------------------------------------------------- in noise


def log_snr_uniform(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Equal steps of log-SNR from t = 1, at most sigma/alpha = 160, about DDPM's (Lu et al. 2022); then the data.

    Where to end is a balance: the last step, to the data, errs by sigma^2, and the others by steps^-3 if their order is
    3. So it ends at sigma/alpha = 1.5 steps^-3/2: measured on exact mixtures of unit variance, best from 5 steps to 50.
    If a schedule's noise ends below 1.5, its own end replaces the 1.5.
    """
    _entries(schedule, count)
    high = min(160.0, _level(schedule, 1.0))
    return _of_levels(schedule, _geometric(high, min(1.5, high) * count**-1.5, count))


def widening(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Equal steps of log-SNR over a range that widens with the count; then the data.

    What a solver errs on the way falls as steps^-3 or faster, and so must what is cut off at both ends: at the start,
    where sigma is not yet all of the spread, and in the last step, to the data. From sigma/alpha = 3 steps, within 40
    and 160, to 3.3 steps^-2: chosen on exact mixtures, from 5 steps to 50 (`benchmarks/mixture.py`).
    """
    _entries(schedule, count)
    high = min(160.0, max(40.0, 3.0 * count), _level(schedule, 1.0))
    return _of_levels(schedule, _geometric(high, min(3.3, high) * count**-2, count))


def angle_uniform(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Equal steps of the angle arctan(sigma/alpha), from t = 1 to the data.

    DDIM on normal data of unit variance errs least on this grid: a step shrinks it by the cosine of the angle.
    """
    _entries(schedule, count)
    whole = math.atan(_level(schedule, 1.0))
    angles = whole * torch.arange(count - 1, 0, -1, dtype=torch.float64) / count
    return (1.0, *schedule.time(-2 * angles.tan().log()).tolist(), 0.0)


def gradient_estimation(schedule: Schedule, count: int) -> tuple[float, ...]:
    """Permenter and Yuan 2024's: levels log-spaced from 40 to the geometric mean of those at t = 1/N and 1/T.

    Each is rounded up to an entry. Their sampler stops at the first entry, sigma = .01; ours goes on to the data.
    """
    total = _entries(schedule, count)
    end = math.sqrt(_level(schedule, 1 / total) * _level(schedule, 1 / count))
    times = _of_levels(schedule, _geometric(min(40.0, _level(schedule, 1.0)), end, count))[:-1]
    return _of_entries(schedule, [total * t for t in times], lambda entry: math.ceil(entry - 1e-6))


@dataclass(frozen=True)
class LogLinearGrid:
    """Levels log-spaced from ``sigma_max`` (t = 1 at most) to ``sigma_min`` (NCSN, smalldiffusion), then the data."""

    sigma_min: float = 0.01
    sigma_max: float = 80.0

    def __call__(self, schedule: Schedule, count: int) -> tuple[float, ...]:
        """The times of sigma/alpha = sigma_max ... sigma_min, and 0."""
        _entries(schedule, count)
        return _of_levels(schedule, _geometric(*_range(schedule, self.sigma_min, self.sigma_max), count))


@dataclass(frozen=True)
class Karras:
    """Levels evenly spaced in their ``rho``-th root (Karras et al. 2022, eq. 5), then the data."""

    rho: float = 7.0
    sigma_min: float = 0.002
    sigma_max: float = 80.0  # t = 1 at most

    def __call__(self, schedule: Schedule, count: int) -> tuple[float, ...]:
        """The times of sigma/alpha = sigma_max ... sigma_min, and 0."""
        _entries(schedule, count)
        high, low = _range(schedule, self.sigma_min, self.sigma_max)
        return _of_levels(schedule, _ramp(high ** (1 / self.rho), low ** (1 / self.rho), count) ** self.rho)


def cut(times: Sequence[float], t: float) -> tuple[float, ...]:
    """The times of a grid from ``t`` on: t itself, and those below it."""
    return (t, *(s for s in times if s < t))


GRIDS: dict[str, Grid] = {
    "angle-uniform": angle_uniform,
    "trailing": trailing,
    "slowing": slowing,
    "symmetric": symmetric,
    "leading": leading,
    "linspace": linspace,
    "quadratic": quadratic,
    "log-linear": LogLinearGrid(),
    "karras": Karras(),
    "gradient-estimation": gradient_estimation,
    "log-snr-uniform": log_snr_uniform,
    "widening": widening,
}


# -------------------------------------------------------------------------------------------------------------


def _entries(schedule: Schedule, count: int) -> int:
    """T, after a look at the count."""
    if isinstance(count, int) and count > MOST:
        raise UserError(f"{count:,} steps would never end; there are at most {MOST:,}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserError(f"the number of steps must be a whole number, 1 or more, not {count!r}")
    return schedule.steps or 1000


def _level(schedule: Schedule, t: float) -> float:
    """sigma/alpha."""
    return math.exp(-0.5 * schedule.at(t).log_snr)


def _range(schedule: Schedule, low: float, high: float) -> tuple[float, float]:
    """(high, low), high no more than the schedule has."""
    high = min(high, _level(schedule, 1.0))
    if not 0 < low < high:
        raise UserError(f"a grid's levels need 0 < sigma_min < sigma_max, here {high:.4g} at most, not {low}")
    return high, low


def _ramp(high: float, low: float, count: int) -> Tensor:
    """Count numbers from high, exactly, to low; only high if count is 1. (count,)"""
    if count == 1:
        return torch.tensor([high], dtype=torch.float64)
    return high + (low - high) * torch.arange(count, dtype=torch.float64) / (count - 1)


def _geometric(high: float, low: float, count: int) -> Tensor:
    """Count log-spaced levels from high to low, (count,)."""
    return _ramp(math.log(high), math.log(low), count).exp()


def _of_levels(schedule: Schedule, levels: Tensor) -> tuple[float, ...]:
    """The times at which sigma/alpha has these levels, and 0."""
    times = schedule.time(-2 * levels.log()).tolist()
    if levels[0] >= _level(schedule, 1.0) * (1 - 1e-12):
        times[0] = 1.0  # not 1 to rounding
    return (*times, 0.0)


def _of_entries(schedule: Schedule, entries: Sequence[float], rounded: Callable[[float], int]) -> tuple[float, ...]:
    """The times of a table's entries, rounded if they stay distinct, and 0; of a continuous schedule, as they are."""
    total = schedule.steps or 1000
    whole = [rounded(entry) for entry in entries] if schedule.steps else []
    distinct = whole and whole[-1] > 0 and all(a > b for a, b in pairwise(whole))
    return (*(entry / total for entry in (whole if distinct else entries)), 0.0)
