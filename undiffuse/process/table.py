"""Schedules given as a table: alpha-bar at T discrete times, interpolated to continuous time.

A table is a curve of angles. Every variance preserving pair is (alpha, sigma) = (cos phi, sin phi). So entry i of T is
an angle at t = i/T, the data is phi = 0 at t = 0, and between entries phi is linear in t. The angle is finite
everywhere: also at the data, and at the end of a zero-terminal table (phi = pi/2).
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.process.schedule import VariancePreserving


class DiscreteSchedule(VariancePreserving):
    """A schedule known at T times. Subclasses give ``alpha_bars``, (T,) float64: alpha^2 at t = 1/T, 2/T, ..., 1."""

    @abstractmethod
    def alpha_bars(self) -> Tensor:
        """alpha^2 at t = 1/T ... 1, strictly decreasing, (T,) float64."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(cos phi, sin phi), the cosine as a sine so that it is exactly 0 at pi/2."""
        phi = self._angle(t)
        return (math.pi / 2 - phi).sin(), phi.sin()

    def log_snr(self, t: Tensor) -> Tensor:
        """-2 log tan phi."""
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which the angle is atan(sigma/alpha), by inverse linear interpolation."""
        phi = (-0.5 * log_snr).exp().atan()
        after = torch.searchsorted(self._angles, phi).clamp(1, self.steps)
        low, high = self._angles[after - 1], self._angles[after]
        return ((after - 1 + (phi - low) / (high - low)) / self.steps).clamp(0, 1)

    def _angle(self, t: Tensor) -> Tensor:
        after = (t * self.steps).detach().ceil().long().clamp(1, self.steps)
        low, high = self._angles[after - 1], self._angles[after]
        return low + (t * self.steps - (after - 1)) * (high - low)

    @cached_property
    def _angles(self) -> Tensor:
        alpha_bars = self.alpha_bars()
        angles = torch.cat(
            [torch.zeros(1, dtype=torch.float64), torch.atan2((1 - alpha_bars).sqrt(), alpha_bars.sqrt())]
        )
        if not (angles.diff() > 0).all():
            raise ValueError(f"{self}: alpha-bar must fall strictly from below 1 to at least 0")
        return angles

    @property
    def steps(self) -> int:
        """T."""
        return self._length

    @cached_property
    def _length(self) -> int:
        return len(self._angles) - 1


def _decay(betas: Tensor) -> Tensor:
    """alpha-bar_i = product of (1 - beta_j) over j <= i."""
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError("every beta must lie in (0, 1); use more steps or smaller betas")
    return torch.log1p(-betas).cumsum(0).exp()


@dataclass(frozen=True)
class Linear(DiscreteSchedule):
    """DDPM's: beta linear from ``start`` to ``end`` over T ``count`` (Ho et al. 2020, section 4)."""

    start: float = 1e-4
    end: float = 0.02
    count: int = 1000

    def alpha_bars(self) -> Tensor:
        """Product of 1 - beta."""
        return _decay(torch.linspace(self.start, self.end, self.count, dtype=torch.float64))


@dataclass(frozen=True)
class ScaledLinear(DiscreteSchedule):
    """Latent diffusion's: sqrt(beta) linear from sqrt(``start``) to sqrt(``end``) (Rombach et al. 2022)."""

    start: float = 0.00085
    end: float = 0.012
    count: int = 1000

    def alpha_bars(self) -> Tensor:
        """Product of 1 - beta."""
        return _decay(torch.linspace(self.start**0.5, self.end**0.5, self.count, dtype=torch.float64) ** 2)


@dataclass(frozen=True)
class SigmoidBetas(DiscreteSchedule):
    """beta_i along a sigmoid over [-6, 6] from ``start`` to ``end`` (Xu et al. 2022, GeoDiff; smalldiffusion)."""

    start: float = 1e-4
    end: float = 0.02
    count: int = 1000

    def alpha_bars(self) -> Tensor:
        """Product of 1 - beta."""
        ramp = torch.linspace(-6, 6, self.count, dtype=torch.float64).sigmoid()
        return _decay(self.start + ramp * (self.end - self.start))


@dataclass(frozen=True)
class CosineTable(DiscreteSchedule):
    """Improved DDPM's cosine over T ``count``, with beta clipped at .999 (Nichol and Dhariwal 2021, eq. 17)."""

    s: float = 0.008
    count: int = 1000
    max_beta: float = 0.999

    def alpha_bars(self) -> Tensor:
        """From beta_i = 1 - f(i/T)/f((i-1)/T), clipped."""
        angle = (torch.arange(self.count + 1, dtype=torch.float64) / self.count + self.s) / (1 + self.s)
        f = (angle * math.pi / 2).cos() ** 2
        return _decay((1 - f[1:] / f[:-1]).clamp(max=self.max_beta))


@dataclass(frozen=True)
class AlphaBars(DiscreteSchedule):
    """Any table of your own: ``values`` are alpha-bar at t = 1/T ... 1."""

    formerly: ClassVar[str] = "Given"

    values: tuple[float, ...]

    def alpha_bars(self) -> Tensor:
        """As given."""
        return torch.tensor(self.values, dtype=torch.float64)


@dataclass(frozen=True)
class ZeroTerminalTable(DiscreteSchedule):
    """A table rescaled so that its last alpha is 0 and its first is kept (Lin et al. 2023, algorithm 1).

    alpha'_i = (alpha_i - alpha_T) alpha_1/(alpha_1 - alpha_T). At t = 1 eps does not determine x_0.
    """

    base: DiscreteSchedule

    def alpha_bars(self) -> Tensor:
        """The squares of the rescaled alphas."""
        alpha = self.base.alpha_bars().sqrt()
        return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2
