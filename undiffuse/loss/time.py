"""Distributions of t: at which times a denoiser is trained.

A distribution is a density on (0, 1) and the inverse of its distribution function, which turns the uniform numbers of a
batch (`undiffuse.loss.draws`) into times. Times are float64 on the CPU, as in every schedule.

There are two reasons to prefer some times. The distribution may be part of the objective: EDM's weight with another
distribution is not EDM's loss. Or it only reduces the variance: then each loss is divided by the density of its time
(`TimeDistribution.importance`), as in `undiffuse.loss.adaptive`.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.loss.draws import Draws, Independent
from undiffuse.process.pinned import SymmetricClock
from undiffuse.process.schedule import Schedule


class TimeDistribution(ABC):
    """A distribution of t on (0, 1]."""

    draws: Draws

    @property
    def steps(self) -> int | None:
        """T, if times are 1/T, ..., 1; None if they are continuous."""
        return None

    def sample(self, count: int, noise: Noise, schedule: Schedule) -> Tensor:
        """(count,) times, float64 on the CPU."""
        with torch.no_grad():
            return self.quantile(self.draws(count, noise), schedule)

    @abstractmethod
    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """The t below which a share u in (0, 1) of the draws lies, (count,)."""

    @abstractmethod
    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """p(t) with respect to dt, (count,). On T discrete times: T times their probabilities."""

    def importance(self, t: Tensor, schedule: Schedule) -> Number:
        """What multiplies a loss at t: 1 if the distribution is part of the objective, else 1/density."""
        return 1.0

    def update(self, t: Tensor, loss: Tensor, schedule: Schedule) -> None:
        """Learns from the losses (count,) at the times that it drew, each already multiplied by `importance`."""
        return None


def log_snr_decay(schedule: Schedule, t: Tensor) -> Tensor:
    """-d log_snr/dt at times (count,): the Jacobian between densities of t and of log-SNR."""
    return -torch.func.jvp(schedule.log_snr, (t,), (torch.ones_like(t),))[1]


@dataclass(frozen=True)
class Uniform(TimeDistribution):
    """Uniform times: continuous on (``start``, 1), or DDPM's discrete 1/T, ..., 1 with T = ``steps``.

    A ``start`` above 0 avoids t = 0, where weights may be unbounded (score SDE: 1e-5).
    """

    steps: int | None = None
    start: float = 0.0
    draws: Draws = field(default_factory=Independent)

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise UserError(f"times start in [0, 1), not at {self.start}")
        if self.steps is not None and (self.steps < 1 or self.start > 0):
            raise UserError(f"discrete times are 1/steps, ..., 1: steps >= 1 and start = 0, not {self}")

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """A linear function of u, or its staircase."""
        if self.steps is not None:
            return (u * self.steps).ceil() / self.steps
        return self.start + (1 - self.start) * u

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Constant above ``start``."""
        return torch.where(t > self.start, 1 / (1 - self.start), 0.0).to(t)


@dataclass(frozen=True)
class LogNormal(TimeDistribution):
    """EDM's: log(sigma/alpha) ~ N(``mean``, ``std``^2), truncated at the schedule's largest (Karras et al. 2022, table
    1)."""

    mean: float = -1.2
    std: float = 1.2
    draws: Draws = field(default_factory=Independent)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """By the inverse of the truncated normal."""
        return schedule.time(-2 * (self.mean + self.std * torch.special.ndtri(u * self._below(schedule))))

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """N(log(sigma/alpha)) d log(sigma/alpha)/dt, divided by the share of the normal below the truncation."""
        z = (-0.5 * schedule.log_snr(t) - self.mean) / self.std
        return _normal_density(z) / self.std * 0.5 * log_snr_decay(schedule, t) / self._below(schedule)

    def _below(self, schedule: Schedule) -> float:
        last = (-0.5 * schedule.at(1.0).log_snr - self.mean) / self.std
        return 0.5 * math.erfc(-last / math.sqrt(2))


@dataclass(frozen=True)
class LogitNormal(TimeDistribution):
    """Stable Diffusion 3's: log t/(1 - t) ~ N(``mean``, ``std``^2) (Esser et al. 2024, eq. 19)."""

    mean: float = 0.0
    std: float = 1.0
    draws: Draws = field(default_factory=Independent)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """The sigmoid of the normal's quantile."""
        return (self.mean + self.std * torch.special.ndtri(u)).sigmoid()

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """N(logit t)/(t (1 - t)); 0 at the ends."""
        inside = t.clamp(1e-15, 1 - 1e-15)
        return _normal_density((inside.logit() - self.mean) / self.std) / (self.std * inside * (1 - inside))


@dataclass(frozen=True)
class Symmetric(TimeDistribution):
    """I2SB's, of a bridge: even in the time of its ``clock``, so denser near both ends (Liu et al. 2023)."""

    clock: SymmetricClock = field(default_factory=SymmetricClock)
    draws: Draws = field(default_factory=Independent)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """The clock's time."""
        return self.clock.time(u)

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """The clock's rate."""
        return self.clock.rate(t)


def _normal_density(z: Tensor) -> Tensor:
    return (-0.5 * z**2).exp() / math.sqrt(2 * math.pi)
