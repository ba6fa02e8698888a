"""Networks and noise that are exactly known, for the laws of the losses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes
from undiffuse.core.linear import combine, expand
from undiffuse.core.noise import Stream
from undiffuse.denoiser import prediction as predict
from undiffuse.loss.time import TimeDistribution
from undiffuse.process import EDM, VP, Affine, Cosine, Flow, Linear, LogLinear, SubVP, ZeroTerminal

SCHEDULES = [Cosine(), VP(), SubVP(), Linear(), LogLinear(), EDM(), Flow()]
ZERO_TERMINAL = [Flow(), ZeroTerminal(Cosine())]
PREDICTIONS = [
    predict.Eps(),
    predict.X0(),
    predict.V(),
    predict.Score(),
    predict.Velocity(),
    predict.Mean(),
    predict.EDMPrediction(0.5),
]


def name(value):
    return type(value).__name__


def seeded(seed: int = 0) -> Stream:
    return Stream(torch.Generator().manual_seed(seed))


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True)
class At(TimeDistribution):
    """These times, in turn."""

    times: tuple[float, ...]

    def sample(self, count, noise, schedule):
        return numbers(*self.times).repeat(count // len(self.times))

    def quantile(self, u, schedule):
        raise NotImplementedError

    def density(self, t, schedule):
        return torch.ones_like(t)


class Says(nn.Module):
    """A network that believes ``belief(x_t, alpha, sigma)`` of x_0, said in any prediction's terms."""

    def __init__(self, belief, process: Affine, prediction) -> None:
        super().__init__()
        self.belief, self.process, self.prediction = belief, process, prediction

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        log_snr = routes.vector
        t = self.process.schedule.time(log_snr)
        x_t = x / expand(self.process.input_scale(t), x)
        alpha, sigma, _ = self.process.schedule.at(t)
        x_0 = self.belief(x_t, expand(alpha, x), expand(sigma, x))
        z = combine(1 / sigma, x_t, -alpha / sigma, x_0)
        return predict.target(self.prediction, self.process.schedule, x_0, z, t)


class Smooth(nn.Module):
    """v of variance preserving diffusion, by who believes in N(0, std^2): differentiable in the noise level too."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        log_snr = routes.vector
        alpha, sigma = (expand(level.sigmoid().sqrt(), x) for level in (log_snr, -log_snr))
        x_0 = posterior_mean(self.std)(x, alpha, sigma)
        return alpha * (x - alpha * x_0) / sigma - sigma * x_0


def posterior_mean(std: float):
    """E[x_0 | x_t] for x_0 ~ N(0, std^2)."""
    return lambda x_t, alpha, sigma: x_t * (alpha * std**2 / (alpha**2 * std**2 + sigma**2))


def wrong(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Some belief."""
    return 0.3 * x_t / (alpha**2 + sigma**2) ** 0.5 + 0.1
