"""Weights over log-SNR, whatever the distribution of t and the schedule (Kingma and Gao 2023, eq. 10).

    L(w) = 1/2 integral of w(l) E|z - z_hat(x_l)|^2 dl          over a range of log-SNR l
         = 1/2 E_t [ w(l_t) (-dl/dt)/p(t) |z - z_hat|^2 ]       for any schedule l_t and density p(t).

w is the objective; p changes only the variance of its estimate, which is why w must not contain p. w = 1 is the ELBO,
in nats. If w is *monotone* (never rises with l), L is an ELBO too, averaged over data with noise added. The weights in
this file are w.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.denoiser.prediction import Prediction
from undiffuse.loss.time import TimeDistribution, log_snr_decay
from undiffuse.loss.weight import Weight, error_of_x0
from undiffuse.process.schedule import Schedule


class Curve(ABC):
    """w(log_snr) >= 0."""

    @abstractmethod
    def __call__(self, log_snr: Tensor) -> Tensor:
        """At log-SNRs of any shape."""


@dataclass(frozen=True)
class ELBO(Curve):
    """1: maximum likelihood."""

    def __call__(self, log_snr: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(log_snr)


@dataclass(frozen=True)
class SigmoidWeight(Curve):
    """Sigmoid(bias - log_snr), monotone: near 1 below ``bias``, falling to 0 above (Kingma and Gao 2023, k = bias).

    Hoogeboom et al. 2024 shift it with the size of the pictures.
    """

    bias: float = 2.0

    def __call__(self, log_snr: Tensor) -> Tensor:
        """Sigmoid(bias - log_snr)."""
        return (self.bias - log_snr).sigmoid()


@dataclass(frozen=True)
class FlowMatching(Curve):
    """e^(-log_snr/2), monotone: rectified flow with uniform t, and v with the cosine schedule."""

    def __call__(self, log_snr: Tensor) -> Tensor:
        """e^(-log_snr/2)."""
        return (-0.5 * log_snr).exp()


@dataclass(frozen=True)
class CosineEps(Curve):
    """Sech(log_snr/2): eps with the cosine schedule and uniform t, improved DDPM's L_simple."""

    def __call__(self, log_snr: Tensor) -> Tensor:
        """1/cosh(log_snr/2)."""
        return 1 / (0.5 * log_snr).cosh()


@dataclass(frozen=True)
class CosineMinSNR(Curve):
    """Sech(log_snr/2) min(1, gamma e^-log_snr): min-SNR with the cosine schedule and uniform t."""

    gamma: float = 5.0

    def __call__(self, log_snr: Tensor) -> Tensor:
        """Sech(l/2) min(1, gamma e^-l)."""
        return (self.gamma * (-log_snr).exp()).clamp(max=1) / (0.5 * log_snr).cosh()


@dataclass(frozen=True)
class EDMCurve(Curve):
    """N(log_snr; 2.4, 2.4^2)(e^-log_snr + sigma_data^2): EDM's weight with its distribution of sigma. Not monotone."""

    sigma_data: float = 0.5

    def __call__(self, log_snr: Tensor) -> Tensor:
        """The normal density times the weight on eps."""
        normal = (-0.5 * ((log_snr - 2.4) / 2.4) ** 2).exp() / (2.4 * math.sqrt(2 * math.pi))
        return normal * ((-log_snr).exp() + self.sigma_data**2)


@dataclass(frozen=True)
class Monotone(Curve):
    """A curve made monotone: at log-SNRs below its peak it has the peak's value (Kingma and Gao 2023, section 5).

    Of `EDMCurve` it is their EDM-monotone. The peak is searched for in [-20, 20], in steps of .001.
    """

    of: EDMCurve | CosineEps | CosineMinSNR = field(default_factory=EDMCurve)

    def __call__(self, log_snr: Tensor) -> Tensor:
        """w(max(log_snr, where w peaks))."""
        grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
        return self.of(log_snr.clamp(min=float(grid[self.of(grid).argmax()])))


@dataclass(frozen=True)
class Integral(Weight):
    """L(w) over ``log_snr_range``, as far as the times drawn cover it; the same for every distribution and schedule.

    The mean over entries, not the sum: nats per entry if w is 1.
    """

    w: Curve = field(default_factory=SigmoidWeight)
    log_snr_range: tuple[float, float] = (-20.0, 20.0)

    def __call__(self, prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
        """1/2 w SNR q^2; 0 outside the range."""
        low, high = self.log_snr_range
        log_snr = schedule.at(t).log_snr
        level = log_snr.clamp(low, high)
        weight = 0.5 * self.w(level) * level.exp() * error_of_x0(prediction, schedule, t) ** 2
        return torch.where((log_snr >= low) & (log_snr <= high), weight, 0.0)

    def importance(self, time: TimeDistribution, schedule: Schedule, t: Tensor) -> Tensor:
        """(-d log_snr/dt)/p(t); 0 where it is not finite, which is outside any range."""
        rate = log_snr_decay(schedule, t) / time.density(t, schedule)
        return torch.where(rate.isfinite(), rate, 0.0)
