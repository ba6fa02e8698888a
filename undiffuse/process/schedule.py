"""Noise schedules: how much of the data is left at each time.

A schedule is a strictly decreasing curve, the log signal-to-noise ratio

    log_snr(t) = log alpha(t)^2 / sigma(t)^2,        +inf at t = 0 (data) down to log_snr(1) at t = 1 (noise),

and a *family*, which fixes where on the ray alpha/sigma = exp(log_snr/2) the pair (alpha, sigma) lies:

    variance preserving     alpha^2 + sigma^2 = 1      DDPM, cosine, ...
    variance exploding      alpha = 1                  NCSN, EDM
    straight                alpha + sigma = 1          rectified flow, iterative alpha-deblending
    sub-VP                  sigma = 1 - alpha^2        score SDE

Two schedules with the same curve differ only by a rescaling of x_t (Kingma et al. 2021, section 3.3; Karras et
al. 2022, table 1), so all that matters for sampling and likelihood is written in log_snr.

Times are float64 on the CPU: schedules are evaluated a few times per step, at one time for the batch or one for each
sample, and the coefficients are cast to the data's type at the end. No accelerator needs float64.
"""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar, overload

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number

N = TypeVar("N", float, Tensor)
V = TypeVar("V")


class Point(NamedTuple, Generic[N]):
    """The values of a schedule at one time: numbers if the time is a number, else tensors of the times' shape."""

    alpha: N
    sigma: N
    log_snr: N


class Schedule(ABC):
    """A log-SNR curve and a family. Subclasses write `log_snr`, its inverse `time`, and `scale` (the family)."""

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """Log alpha^2/sigma^2 at times t in [0, 1]; strictly decreasing."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse: the t at which the log-SNR is this. Clamped to [0, 1]."""

    @abstractmethod
    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) on the ray alpha/sigma = exp(log_snr/2): the family."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at times t."""
        return self.scale(self.log_snr(t))

    @overload
    def at(self, t: float) -> Point[float]: ...
    @overload
    def at(self, t: Tensor) -> Point[Tensor]: ...
    def at(self, t: Number) -> Point[float] | Point[Tensor]:
        """Alpha, sigma and log-SNR at t: a number (cached, since grids repeat) or a tensor of times."""
        if isinstance(t, Tensor):
            alpha, sigma = self(t)
            return Point(alpha, sigma, self.log_snr(t))
        known = self._points.get(t)
        if known is None:
            time = self.at(torch.tensor(t, dtype=torch.float64))
            known = Point(float(time.alpha), float(time.sigma), float(time.log_snr))
            _remember(self._points, t, known)
        return known

    @overload
    def rate(self, t: float) -> tuple[float, float]: ...
    @overload
    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]: ...
    def rate(self, t: Number) -> tuple[Number, Number]:
        """(d alpha/dt, d sigma/dt), by forward-mode differentiation, which is exact for every schedule."""
        if isinstance(t, Tensor):
            # A vector even for one time, because some schedules index tables.
            tangents = torch.func.jvp(self, (t.reshape(-1),), (torch.ones_like(t.reshape(-1)),))[1]
            return tangents[0].view_as(t), tangents[1].view_as(t)
        known = self._rates.get(t)
        if known is None:
            d_alpha, d_sigma = self.rate(torch.tensor(t, dtype=torch.float64))
            known = (float(d_alpha), float(d_sigma))
            _remember(self._rates, t, known)
        return known

    @cached_property
    def _points(self) -> dict[float, Point[float]]:
        return {}

    @cached_property
    def _rates(self) -> dict[float, tuple[float, float]]:
        return {}

    @property
    def steps(self) -> int | None:
        """How many discrete times the schedule was defined on; None if it is a function of continuous time."""
        return None


def time_at(schedule: Schedule, log_snr: float) -> float:
    """The time at which the log-SNR is this, in [0, 1]."""
    return float(schedule.time(torch.tensor(log_snr, dtype=torch.float64)))


def logit(share: float) -> float:
    """log share/(1 - share), for a share in (0, 1)."""
    return math.log(share) - math.log1p(-share)


S = TypeVar("S", bound=Schedule)
LONGEST = 1_000_000  # entries of a table


@torch.no_grad()
def checked(schedule: S) -> S:
    """The schedule itself. Raises UserError where its log-SNR is not a curve that falls from t = 0 to t = 1.

    This is asked once, where a model is made of what a person wrote; the numbers of a schedule may be any. One that is
    learned falls by construction.
    """
    if isinstance(schedule, torch.nn.Module):
        return schedule
    with torch.device("cpu"):  # also where the model is made of shapes alone
        return _falling(schedule)


def _falling(schedule: S) -> S:
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    try:
        if getattr(schedule, "count", 1) > LONGEST:
            raise UserError(f"{schedule}: a table has at most {LONGEST:,} entries")
        curve, (alpha, sigma) = schedule.log_snr(t), schedule(t)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{schedule} is no schedule: {error}") from None
    inside = curve[1:-1]
    falls = bool((curve.diff() < 0).all()) and bool(inside.isfinite().all())
    if not (falls and bool(alpha.isfinite().all()) and bool(sigma.isfinite().all())):
        raise UserError(f"{schedule} is no schedule: its log-SNR must fall from the data, t = 0, to the noise, t = 1")
    return schedule


def _remember(known: dict[float, V], t: float, value: V) -> None:
    """Caches a value. An adaptive solver asks for ever new times, so a full cache is cleared."""
    if len(known) >= 4096:
        known.clear()
    known[t] = value


# ---------------------------------------------------------------------------------------------- families


class VariancePreserving(Schedule):
    """alpha^2 + sigma^2 = 1: unit-variance data keeps unit variance."""

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr)."""
        return log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()


class VarianceExploding(Schedule):
    """Alpha = 1: noise is added to data that is not scaled."""

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 1, sigma = exp(-log_snr/2)."""
        return torch.ones_like(log_snr), (-0.5 * log_snr).exp()


class Straight(Schedule):
    """Alpha + sigma = 1: straight lines from data to noise."""

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = sigmoid(log_snr/2), sigma = sigmoid(-log_snr/2)."""
        return (0.5 * log_snr).sigmoid(), (-0.5 * log_snr).sigmoid()


class SubVariancePreserving(Schedule):
    """Sigma = 1 - alpha^2: the sub-VP SDE's family (Song et al. 2021, eq. 29)."""

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 2r/(1 + sqrt(1 + 4r^2)), r = e^(log_snr/2): alpha/(1 - alpha^2) = r solved without cancellation."""
        inverse = (-0.5 * log_snr).exp()  # 1/r = sigma/alpha
        root = (inverse**2 + 4).sqrt()
        alpha = 2 / (inverse + root)
        return alpha, alpha * inverse
