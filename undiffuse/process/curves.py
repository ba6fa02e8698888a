"""The schedules of the papers, in closed form and continuous time: each a log-SNR curve, its inverse, and a family.

They are accurate to rounding at both ends, where the plain formulas lose digits: near the data 1 - alpha-bar is tiny,
near the noise alpha-bar is.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.linear import Number
from undiffuse.process.schedule import Straight, SubVariancePreserving, VarianceExploding, VariancePreserving


def ramp(t: Tensor, start: float, curve: Tensor, log_snr_start: Number) -> Tensor:
    """A curve that begins at a positive noise level, continued to t = 0, the data.

    Below ``start``, sigma/alpha falls linearly to 0: log_snr = log_snr(start) - 2 log(t/start).
    """
    return torch.where(t < start, log_snr_start - 2 * (t / start).log(), curve)


def unramp(log_snr: Tensor, start: float, time: Tensor, log_snr_start: Number) -> Tensor:
    """The inverse of `ramp`."""
    return torch.where(log_snr > log_snr_start, start * (0.5 * (log_snr_start - log_snr)).exp(), time)


@dataclass(frozen=True)
class VP(VariancePreserving):
    """The variance preserving SDE with beta(t) = beta_min + t (beta_max - beta_min); DDPM's continuous limit.

    log alpha^2 = -B(t), B(t) = beta_min t + t^2 (beta_max - beta_min)/2 (Song et al. 2021, eq. 32).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def log_snr(self, t: Tensor) -> Tensor:
        """-log(e^B(t) - 1)."""
        return _log_snr_of_decay(self.integral(t))

    def time(self, log_snr: Tensor) -> Tensor:
        """B = log(1 + e^-log_snr), then the root of a quadratic, without cancellation."""
        return self._time_of_integral(F.softplus(-log_snr))

    def integral(self, t: Tensor) -> Tensor:
        """B(t) = integral of beta from 0 to t."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def _time_of_integral(self, b: Tensor) -> Tensor:
        return (2 * b / (self.beta_min + (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * b).sqrt())).clamp(
            0, 1
        )


@dataclass(frozen=True)
class SubVP(SubVariancePreserving):
    """The sub-VP SDE: alpha^2 = e^-B(t) as in `VP`, sigma = 1 - e^-B(t) (Song et al. 2021, eq. 29)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def log_snr(self, t: Tensor) -> Tensor:
        """-B - 2 log(1 - e^-B)."""
        b = self._vp.integral(t)
        return -b - 2 * (-torch.expm1(-b)).log()

    def time(self, log_snr: Tensor) -> Tensor:
        """B = -2 log alpha, alpha from the family."""
        alpha, sigma = self.scale(log_snr)
        b = torch.where(sigma < 0.5, -torch.log1p(-sigma), -2 * alpha.log())
        return self._vp._time_of_integral(b)

    @cached_property
    def _vp(self) -> VP:
        return VP(self.beta_min, self.beta_max)


@dataclass(frozen=True)
class Cosine(VariancePreserving):
    """Improved DDPM's cosine: alpha-bar(t) = f(t)/f(0), f(t) = cos^2(pi/2 (u + s)/(1 + s)).

    Nichol and Dhariwal 2021, eq. 17. Time is rescaled so that log_snr(1) = ``log_snr_end`` instead of -inf; -20 is
    alpha = 4.5e-5, near what their clipping of beta at 0.999 leaves at T = 1000. `CosineTable` is their table.
    """

    s: float = 0.008
    log_snr_end: float = -20.0

    def log_snr(self, t: Tensor) -> Tensor:
        """From alpha-bar = cos^2(x)/cos^2(x_0): 1 - alpha-bar = sin(x - x_0) sin(x + x_0)/cos^2(x_0)."""
        start = self._angle(0.0)
        x = start + t * (self._last - start)
        return 2 * x.cos().log() - ((x - start).sin() * (x + start).sin()).log()

    def time(self, log_snr: Tensor) -> Tensor:
        """Sin^2(x) = sin^2(x_0) + sigma^2 cos^2(x_0), solved for the small difference x - x_0."""
        start = self._angle(0.0)
        variance = (-log_snr).sigmoid() * math.cos(start) ** 2
        sine = (math.sin(start) ** 2 + variance).sqrt()
        cosine = math.cos(start) * log_snr.sigmoid().sqrt()
        difference = torch.atan2(
            variance / (sine * math.cos(start) + cosine * math.sin(start)),
            _cos_of_difference(sine, cosine, start),
        )
        return (difference / (self._last - start)).clamp(0, 1)

    def _angle(self, u: float) -> float:
        return math.pi / 2 * (u + self.s) / (1 + self.s)

    @cached_property
    def _last(self) -> float:
        alpha_bar = 1 / (1 + math.exp(-self.log_snr_end))
        return math.acos(math.sqrt(alpha_bar) * math.cos(self._angle(0.0)))


def _cos_of_difference(sine: Tensor, cosine: Tensor, start: float) -> Tensor:
    return cosine * math.cos(start) + sine * math.sin(start)


@dataclass(frozen=True)
class Sigmoid(VariancePreserving):
    """Alpha-bar falls from 1 to 0 along a sigmoid from ``start`` to ``end`` with temperature ``tau``.

    alpha-bar(t) = (S(end) - S(u))/(S(end) - S(start)), S(u) = sigmoid(u/tau), u = start + t (end - start)
    (Jabri et al. 2022, appendix; Chen 2023, algorithm 1). They clip alpha-bar at 1e-9; here time ends at
    ``log_snr_end``.
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    log_snr_end: float = -20.0

    def log_snr(self, t: Tensor) -> Tensor:
        """Log (S(end) - S(u)) - log (S(u) - S(start))."""
        rise = t * (self._last - self.start) / self.tau  # u - start
        left = (self.end - self.start) / self.tau - rise  # end - u
        # S(a + d) - S(a) = S(a + d) S(-a) (1 - e^-d): no cancellation at either end.
        u = self.start / self.tau + rise
        top = F.logsigmoid(torch.as_tensor(self.end / self.tau)) + F.logsigmoid(-u) + (-torch.expm1(-left)).log()
        bottom = F.logsigmoid(u) + F.logsigmoid(torch.as_tensor(-self.start / self.tau)) + (-torch.expm1(-rise)).log()
        return top - bottom

    def time(self, log_snr: Tensor) -> Tensor:
        """U = tau logit(S(start) + sigma^2 (S(end) - S(start))), as an increase over ``start``."""
        low, high = (1 / (1 + math.exp(-x / self.tau)) for x in (self.start, self.end))
        gain = (-log_snr).sigmoid() * (high - low)
        rise = torch.log1p(gain / low) - torch.log1p(-gain / (1 - low))
        return (self.tau * rise / (self._last - self.start)).clamp(0, 1)

    @cached_property
    def _last(self) -> float:
        low, high = (1 / (1 + math.exp(-x / self.tau)) for x in (self.start, self.end))
        level = high - (high - low) / (1 + math.exp(-self.log_snr_end))
        return self.tau * math.log(level / (1 - level))


@dataclass(frozen=True)
class Fading(VariancePreserving):
    """Alpha-bar(t) = 1 - t: linear in t, down to 0.

    For tokens it is the share that is unchanged in masked diffusion (Sahoo et al. 2024's "log-linear") and in binomial
    diffusion with beta_t = 1/(T - t + 1) (Sohl-Dickstein et al. 2015).
    """

    def log_snr(self, t: Tensor) -> Tensor:
        """Log (1 - t)/t."""
        return torch.log1p(-t) - t.log()

    def time(self, log_snr: Tensor) -> Tensor:
        """Sigmoid(-log_snr)."""
        return (-log_snr).sigmoid()

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(sqrt(1 - t), sqrt t)."""
        return (1 - t).sqrt(), t.sqrt()


@dataclass(frozen=True)
class LogLinear(VarianceExploding):
    """Log sigma linear in time, from ``sigma_min`` to ``sigma_max`` (NCSN, score SDE's VE, smalldiffusion)."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    start: float = 1e-3  # below it sigma falls linearly to 0

    def log_snr(self, t: Tensor) -> Tensor:
        """-2 log sigma."""
        low, high = -2 * math.log(self.sigma_min), -2 * math.log(self.sigma_max)
        return ramp(t, self.start, low + (t - self.start) / (1 - self.start) * (high - low), low)

    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse of the line."""
        low, high = -2 * math.log(self.sigma_min), -2 * math.log(self.sigma_max)
        line = self.start + (log_snr - low) / (high - low) * (1 - self.start)
        return unramp(log_snr, self.start, line.clamp(max=1), low)


@dataclass(frozen=True)
class EDM(VarianceExploding):
    """EDM's noise levels: sigma^(1/rho) linear in time, .002 to 80 (Karras et al. 2022, eq. 5)."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    start: float = 1e-3  # below it sigma falls linearly to 0

    def log_snr(self, t: Tensor) -> Tensor:
        """-2 log sigma."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        root = low + ((t - self.start) / (1 - self.start)).clamp(min=0) * (high - low)
        return ramp(t, self.start, -2 * self.rho * root.log(), -2 * math.log(self.sigma_min))

    def time(self, log_snr: Tensor) -> Tensor:
        """From sigma^(1/rho)."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        root = (-log_snr / (2 * self.rho)).exp()
        line = self.start + (root - low) / (high - low) * (1 - self.start)
        return unramp(log_snr, self.start, line.clamp(max=1), -2 * math.log(self.sigma_min))


@dataclass(frozen=True)
class Flow(Straight):
    """Rectified flow: x_t = (1 - t) x_0 + t z (Liu et al. 2022); iterative alpha-deblending (Heitz et al. 2023)."""

    def log_snr(self, t: Tensor) -> Tensor:
        """2 log (1 - t)/t."""
        return 2 * (torch.log1p(-t) - t.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """Sigmoid(-log_snr/2)."""
        return (-0.5 * log_snr).sigmoid()

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(1 - t, t), exact and smooth at both ends."""
        return 1 - t, t


def _log_snr_of_decay(b: Tensor) -> Tensor:
    """The log-SNR of alpha^2 = e^-b, sigma^2 = 1 - e^-b, accurate at both ends."""
    return -b - (-torch.expm1(-b)).log()
