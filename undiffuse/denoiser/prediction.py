"""What a network is asked for: a pair (a, b), meaning y = a x_0 + b z.

With x_t = alpha x_0 + sigma z these are two equations for two unknowns, so each prediction determines every other:

    x_0 = (b x_t - sigma y)/(b alpha - a sigma),        z = (alpha y - a x_t)/(b alpha - a sigma).

Eps, x_0, v, the score, a flow's velocity, z - x_0, the mean of x_{t-1} and EDM's F are pairs with this one inversion.
A pair whose determinant b alpha - a sigma vanishes says nothing about x_0: eps where alpha = 0 is the known case.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, combine
from undiffuse.process.schedule import Schedule


class Prediction(Protocol):
    """A pair of coefficients as a function of time."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(a, b) at t, a number or (batch,)."""
        ...


@dataclass(frozen=True)
class Eps:
    """The noise: y = z (Ho et al. 2020). Blind at alpha = 0."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(0, 1)."""
        return 0.0, 1.0


@dataclass(frozen=True)
class X0:
    """The data: y = x_0."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(1, 0)."""
        return 1.0, 0.0


@dataclass(frozen=True)
class V:
    """Salimans and Ho 2022: y = alpha z - sigma x_0."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(-sigma, alpha)."""
        alpha, sigma, _ = schedule.at(t)
        return -sigma, alpha


@dataclass(frozen=True)
class Score:
    """The score of q(x_t): y = grad log q_t(x_t) = -E[z | x_t]/sigma (Song et al. 2021)."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(0, -1/sigma)."""
        return 0.0, -1 / schedule.at(t).sigma


@dataclass(frozen=True)
class Velocity:
    """A flow's velocity dx_t/dt = alpha' x_0 + sigma' z; z - x_0 on the straight schedule (Lipman et al. 2023)."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(d alpha/dt, d sigma/dt)."""
        return schedule.rate(t)


@dataclass(frozen=True)
class Difference:
    """y = z - x_0: the velocity of the straight flow in its own time, whatever the time of a shifted schedule."""

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(-1, 1)."""
        return -1.0, 1.0


@dataclass(frozen=True)
class Mean:
    """The mean of q(x_{t - 1/steps} | x_t, x_0), DDPM's mu-tilde (Ho et al. 2020, eq. 7)."""

    steps: int = 1000

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """With mu = A x_t + C x_0: (A alpha + C, A sigma)."""
        s = (t - 1 / self.steps).clamp(min=0) if isinstance(t, Tensor) else max(t - 1 / self.steps, 0.0)
        now, then = schedule.at(t), schedule.at(s)
        lost = now.alpha / then.alpha * (then.sigma / now.sigma) ** 2  # A
        gain = then.alpha - lost * now.alpha  # C, since A alpha_t + C = alpha_s
        return lost * now.alpha + gain, lost * now.sigma


@dataclass(frozen=True)
class EDMPrediction:
    """EDM's F: x_0 = c_skip x_t + c_out F, unit-variance target at every noise level (Karras et al. 2022, table 1).

    For alpha^2 + sigma^2 = 1 and sigma_data = 1 it is -v.
    """

    sigma_data: float = 1.0

    def __call__(self, schedule: Schedule, t: Number) -> tuple[Number, Number]:
        """(sigma, -alpha sigma_data^2)/(sigma_data r), r^2 = sigma^2 + alpha^2 sigma_data^2."""
        alpha, sigma, _ = schedule.at(t)
        r = (sigma**2 + alpha**2 * self.sigma_data**2) ** 0.5
        return sigma / (self.sigma_data * r), -alpha * self.sigma_data / r


def target(prediction: Prediction, schedule: Schedule, x_0: Tensor, z: Tensor, t: Number) -> Tensor:
    """Y = a x_0 + b z, what the network should say; (batch, *shape)."""
    a, b = prediction(schedule, t)
    return combine(a, x_0, b, z)


def to_x0(prediction: Prediction, schedule: Schedule, x_t: Tensor, y: Tensor, t: Number) -> Tensor:
    """X_0 = (b x_t - sigma y)/(b alpha - a sigma). Raises `UserError` where the determinant is zero."""
    from_x, from_y = inversion(prediction, schedule, t)
    return combine(from_x, x_t, from_y, y)


def to_eps(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: Number) -> Tensor:
    """Z = (x_t - alpha x_0)/sigma."""
    alpha, sigma, _ = schedule.at(t)
    return combine(1 / sigma, x_t, -alpha / sigma, x_0)


def to_score(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: Number) -> Tensor:
    """Tweedie: grad log q_t(x_t) = (alpha E[x_0 | x_t] - x_t)/sigma^2."""
    alpha, sigma, _ = schedule.at(t)
    return combine(-1 / sigma**2, x_t, alpha / sigma**2, x_0)


def to_velocity(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: Number) -> Tensor:
    """dx_t/dt along the probability flow: alpha' x_0 + sigma' z."""
    alpha, sigma, _ = schedule.at(t)
    d_alpha, d_sigma = schedule.rate(t)
    return combine(d_sigma / sigma, x_t, d_alpha - d_sigma * alpha / sigma, x_0)


def inversion(prediction: Prediction, schedule: Schedule, t: Number) -> tuple[Number, Number]:
    """(p, q) of x_0 = p x_t + q y. Raises `UserError` where the determinant is zero."""
    alpha, sigma, _ = schedule.at(t)
    a, b = prediction(schedule, t)
    determinant = b * alpha - a * sigma
    blind = determinant == 0
    if torch.compiler.is_compiling():  # a graph raises no errors
        return b / determinant, -sigma / determinant
    if blind.any() if isinstance(blind, Tensor) else blind:
        where = float(t[blind].flatten()[0]) if isinstance(t, Tensor) else t
        raise UserError(
            f"{type(prediction).__name__} says nothing about x_0 at t = {where}, where its determinant is 0; "
            "train v or x0, or keep to earlier times"
        )
    return b / determinant, -sigma / determinant
