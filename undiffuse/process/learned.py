"""A schedule learned from data: a monotone network, as in variational diffusion models (Kingma et al. 2021).

VDM's gamma = -log_snr is a line plus a layer of sigmoids with positive weights (appendix H), scaled to its end points:

    log_snr(t) = max + (min - max) progress(t),      progress = (g(u) - g(0))/(g(1) - g(0)),
    g(u) = slope u + sum_k height_k sigmoid(sharpness_k (u - centre_k)),      slope, height, sharpness > 0.

u runs from 0 at t = ``start`` to 1 at t = 1. Below ``start``, sigma/alpha falls linearly to 0 at t = 0, the data.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.modules import HostModule, Learning
from undiffuse.process.curves import ramp, unramp
from undiffuse.process.schedule import Point, VariancePreserving


@dataclass(frozen=True)
class Learned(VariancePreserving, Learning):
    """The description of a monotone network of ``units`` sigmoids; by itself, the straight line from which it learns.

    Args:
        log_snr_max: log-SNR at ``start``; VDM's is 13.3.
        log_snr_min: log-SNR at t = 1; VDM's is -5.
        learn_ends: whether these two are learned too. Use it with a bound only: other losses fall just by moving them.
        units: the number of sigmoids.
        start: the time at which the curve begins.
    """

    log_snr_max: float = 13.3
    log_snr_min: float = -5.0
    learn_ends: bool = False
    units: int = 64
    start: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.log_snr_min < self.log_snr_max and self.units >= 1 and 0 < self.start < 1):
            raise UserError(f"a learned schedule needs min < max, units >= 1 and start in (0, 1), not {self}")

    def build(self) -> "LearnedSchedule":
        """The network. It starts within a few hundredths of the line, and nothing in it is random."""
        return LearnedSchedule(self)

    def log_snr(self, t: Tensor) -> Tensor:
        """From max to min."""
        line = self.log_snr_max + (self.log_snr_min - self.log_snr_max) * (t - self.start) / (1 - self.start)
        return ramp(t, self.start, line, self.log_snr_max)

    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse of the line."""
        share = (log_snr - self.log_snr_max) / (self.log_snr_min - self.log_snr_max)
        time = self.start + (1 - self.start) * share.clamp(0, 1)
        return unramp(log_snr, self.start, time, self.log_snr_max)


class LearnedSchedule(VariancePreserving, HostModule):
    """The network that `Learned` describes.

    Gradients reach its parameters through tensors of times. At a time that is a number it has no gradient and stores
    nothing.
    """

    def __init__(self, design: Learned) -> None:
        HostModule.__init__(self)
        self.design, units, learned = design, design.units, design.learn_ends
        even = (torch.arange(units, dtype=torch.float64) + 0.5) / units
        self.high = nn.Parameter(_number(design.log_snr_max), requires_grad=learned)
        self.log_span = nn.Parameter(_number(design.log_snr_max - design.log_snr_min).log(), requires_grad=learned)
        self.log_slope = nn.Parameter(_number(0.0))
        self.centre = nn.Parameter(even)
        self.log_sharpness = nn.Parameter(torch.full_like(even, 2.0 * units).log())
        self.log_height = nn.Parameter(torch.full_like(even, 0.1 / units).log())

    def log_snr(self, t: Tensor) -> Tensor:
        """The network, and below ``start`` the ramp to the data."""
        curve = self.high - self.log_span.exp() * self.progress(t)
        return ramp(t, self.design.start, curve, self.high)

    def interior(self) -> tuple[nn.Parameter, ...]:
        """What shapes the curve between its end points."""
        return self.log_slope, self.centre, self.log_sharpness, self.log_height

    def progress(self, t: Tensor) -> Tensor:
        """From 0 at ``start`` to 1 at t = 1: the interior, which does not depend on the end points."""
        first, last = self._g(torch.tensor([0.0, 1.0], dtype=torch.float64))
        u = ((t - self.design.start) / (1 - self.design.start)).clamp(min=0)
        return (self._g(u) - first) / (last - first)

    @torch.no_grad()
    def time(self, log_snr: Tensor) -> Tensor:
        """By bisection, to the last bit; without gradient."""
        low, high = torch.full_like(log_snr, self.design.start), torch.ones_like(log_snr)
        for _ in range(54):
            middle = 0.5 * (low + high)
            later = self.log_snr(middle) > log_snr
            low, high = torch.where(later, middle, low), torch.where(later, high, middle)
        return unramp(log_snr, self.design.start, high, self.high)

    def at(self, t: Number) -> Point:
        """As in every schedule; at a number, without gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and isinstance(t, Tensor)):
            return super().at(t)

    def rate(self, t: Number) -> tuple:
        """As in every schedule; at a number, without gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and isinstance(t, Tensor)):
            return super().rate(t)

    @property
    def _points(self) -> dict[float, Point[float]]:  # nothing is stored, because parameters may change
        return {}

    @property
    def _rates(self) -> dict[float, tuple[float, float]]:
        return {}

    def _g(self, u: Tensor) -> Tensor:
        waves = self.log_sharpness.exp() * (u[..., None] - self.centre)
        return self.log_slope.exp() * u + waves.sigmoid() @ self.log_height.exp()


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
