"""Weights of the squared error at the t that was drawn.

At a given x_t, the errors of y, x_0 and z are proportional. With v of unit length, v = (alpha z - sigma x_0)/r,
r^2 = alpha^2 + sigma^2, and q = -sigma/(b alpha - a sigma) (`undiffuse.denoiser.prediction.inversion`),

    |x_0 - x_0_hat|^2 = q^2 |y - y_hat|^2 = |v - v_hat|^2 sigmoid(-log_snr)
    |z - z_hat|^2     = e^log_snr |x_0 - x_0_hat|^2 = |v - v_hat|^2 sigmoid(log_snr).

So a weight is a function of log-SNR that holds for every prediction and schedule, once it is fixed whose error it
multiplies. Here that is v: its weights stay finite without noise and without data. With SNR = e^log_snr they are

    weight        on v                               on x_0              on eps
    Simple()      SNR/(SNR + 1)                      SNR                 1
    MinSNR(5)     min(SNR, 5)/(SNR + 1)              min(SNR, 5)         min(SNR, 5)/SNR
    EDMWeight(s)  (SNR + 1/s^2)/(SNR + 1)            SNR + 1/s^2         1 + 1/(s^2 SNR)

Weights over log-SNR that do not depend on the distribution of t are in `undiffuse.loss.integral`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.core.linear import Number
from undiffuse.denoiser.prediction import X0, EDMPrediction, Eps, Mean, Prediction, Score, V, Velocity, inversion
from undiffuse.loss.time import TimeDistribution
from undiffuse.process.schedule import Schedule


class Weight(ABC):
    """How much the squared error of a prediction y weighs."""

    @abstractmethod
    def __call__(self, prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
        """What multiplies (y - y_hat)^2 at times (count,): float64 (count,). `UserError` where y does not determine
        x_0."""

    def importance(self, time: TimeDistribution, schedule: Schedule, t: Tensor) -> Number:
        """The importance weight of a loss at t: that of its distribution."""
        return time.importance(t, schedule)


@dataclass(frozen=True)
class Plain(Weight):
    """1 on the error of the network's prediction, whichever it is."""

    def __call__(self, prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)


@dataclass(frozen=True)
class Simple(Weight):
    """1 on the error ``of`` one prediction, whichever the network predicts.

    Of eps: DDPM's L_simple (Ho et al. 2020, eq. 14), and NCSN's sigma^2 on the score; of `Velocity`: flow matching.
    """

    of: Eps | X0 | V | Score | Velocity | Mean | EDMPrediction = field(default_factory=Eps)

    def __call__(self, prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
        """The square of the ratio of the determinants."""
        alpha, sigma, _ = schedule.at(t)
        a, b = self.of(schedule, t)
        return ((b * alpha - a * sigma) / sigma * error_of_x0(prediction, schedule, t)) ** 2


class OfLogSNR(Weight):
    """A function of log-SNR on the error of v."""

    @abstractmethod
    def of_v(self, log_snr: Tensor) -> Tensor:
        """What multiplies |v - v_hat|^2, v of unit length: finite from -inf to inf."""

    def __call__(self, prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
        """w q^2/sigmoid(-log_snr)."""
        log_snr = schedule.at(t).log_snr
        return self.of_v(log_snr) * error_of_x0(prediction, schedule, t) ** 2 / (-log_snr).sigmoid()


@dataclass(frozen=True)
class MinSNR(OfLogSNR):
    """min(SNR, gamma) on x_0: times with little noise weigh at most gamma (Hang et al. 2023, eq. 8)."""

    gamma: float = 5.0

    def of_v(self, log_snr: Tensor) -> Tensor:
        """min(SNR, gamma)/(SNR + 1)."""
        return torch.minimum(log_snr.sigmoid(), self.gamma * (-log_snr).sigmoid())


@dataclass(frozen=True)
class EDMWeight(OfLogSNR):
    """(sigma^2 + sigma_data^2)/(sigma sigma_data)^2 on x_0: 1 on EDM's F (Karras et al. 2022, table 1).

    sigma is sigma/alpha. With sigma_data = 1 it is 1 on v.
    """

    sigma_data: float = 1.0

    def of_v(self, log_snr: Tensor) -> Tensor:
        """Sigmoid(log_snr) + sigmoid(-log_snr)/sigma_data^2."""
        return log_snr.sigmoid() + (-log_snr).sigmoid() / self.sigma_data**2


def error_of_x0(prediction: Prediction, schedule: Schedule, t: Tensor) -> Tensor:
    """q: the error of x_0 is q times the error of y. (count,); `UserError` where y does not determine x_0."""
    return torch.as_tensor(inversion(prediction, schedule, t)[1])
