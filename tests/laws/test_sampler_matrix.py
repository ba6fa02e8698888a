"""Every sampler on every schedule, at few steps and at many, against laws that are known exactly.

Data is one number, of two laws at once. Of a Gaussian, every step is affine in x and in each draw of noise, so that the
law at the end is computed and not estimated; a mixture is sampled. Starts are of the exact law of x_t, so that what is
wrong at the end is the sampler's.
"""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from undiffuse import process as p
from undiffuse.core.noise import SeededNoise
from undiffuse.process import Affine, Belief, Schedule
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.samplers import SAMPLERS

SCHEDULES: dict[str, Schedule] = {
    "VP": p.VP(),
    "SubVP": p.SubVP(),
    "Cosine": p.Cosine(),
    "Sigmoid": p.Sigmoid(),
    "Fading": p.Fading(),
    "LogLinear": p.LogLinear(),
    "EDM": p.EDM(),
    "Flow": p.Flow(),
    "Linear": p.Linear(),
    "ScaledLinear": p.ScaledLinear(),
    "SigmoidBetas": p.SigmoidBetas(),
    "CosineTable": p.CosineTable(),
    "AlphaBars": p.AlphaBars((0.99, 0.9, 0.7, 0.4, 0.1, 1e-3, 1e-9)),
    "ZeroTerminal VP": p.ZeroTerminal(p.VP()),
    "ZeroTerminal Sigmoid": p.ZeroTerminal(p.Sigmoid()),
    "ZeroTerminal Cosine": p.ZeroTerminal(p.Cosine()),
    "ZeroTerminalTable Linear": p.ZeroTerminalTable(p.Linear()),
    "ZeroTerminalTable CosineTable": p.ZeroTerminalTable(p.CosineTable()),
    "Shifted Flow": p.Shifted(p.Flow()),
    "Shifted Cosine": p.Shifted(p.Cosine()),
}


# At 100 steps, on the worst schedule: how far the Gaussian's standard deviation may be from the truth (as a share of
# it), and its mean (in standard deviations).
ANCESTRAL = (0.08, 1e-9)  # beta-tilde's steps are too narrow by what x_0 is uncertain
HIGHER_ORDER = (0.005, 1e-9)
CLOSE = {
    "ddim": (0.04, 1e-9),
    "ddpm": ANCESTRAL,
    "ddpm-large": (0.025, 1e-9),
    "ddpm-learned": ANCESTRAL,
    "gradient-estimation": (0.035, 1e-9),
    "euler": (0.04, 0.02),
    "heun-churn": (0.01, 1e-9),
    "dpm++2m-sde": (0.01, 1e-9),
    "euler-maruyama": (0.02, 0.02),
    "predictor-corrector": ANCESTRAL,
    "annealed-langevin": (0.06, 0.08),
}
FAR = 0.1  # the mixture's W_1 at 100 steps; of two draws of 600 it is about .05
EXPLODING = 2.6  # standard deviations at any number of steps; and the mean as many

SIZE = 600  # draws of the mixture
STD_OF_ONE, MEAN_OF_ONE = 0.6, 0.7
WEIGHTS, MEANS, STD = (0.5, 0.3, 0.2), (-0.98, 0.7, 1.4), 0.25


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Exact:
    """The exact denoiser: of the Gaussian for the first rows, of the mixture for the others."""

    def __init__(self, process: Affine, gaussians: int) -> None:
        self.process, self.gaussians = process, gaussians
        self.means, self.log_weights = numbers(*MEANS), numbers(*WEIGHTS).log()

    def __call__(self, x_t: Tensor, t: float) -> Tensor:
        alpha, sigma, _ = self.process.schedule.at(t)
        x, y = x_t.split([self.gaussians, SIZE])
        gain = alpha * STD_OF_ONE**2 / (alpha**2 * STD_OF_ONE**2 + sigma**2)
        x_0 = gain * x + (1 - gain * alpha) * MEAN_OF_ONE
        variance = alpha**2 * STD**2 + sigma**2
        off = y - alpha * self.means  # (SIZE, components)
        share = (self.log_weights - off**2 / (2 * variance)).T.contiguous().softmax(0).T  # faster than along rows
        y_0 = (share @ self.means)[:, None] + alpha * STD**2 / variance * (share * off).sum(-1, keepdim=True)
        return torch.cat([x_0, y_0])


class Both:
    """Of the Gaussian's rows, row 2 + i hears draw i alone, which is 1; the mixture's rows have noise of their own."""

    def __init__(self, gaussians: int) -> None:
        self.gaussians, self.draws, self.mixture = gaussians, 0, SeededNoise(0)

    def normal(self, like: Tensor) -> Tensor:
        z = torch.zeros_like(like)
        z[2 + self.draws] = 1.0
        z[self.gaussians :] = self.mixture.normal(z[self.gaussians :])
        self.draws += 1
        return z


def draws_of_the_mixture() -> Tensor:
    """As even as possible over the components, (SIZE, 1)."""
    even = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE
    means = numbers(*MEANS)[torch.searchsorted(numbers(*WEIGHTS).cumsum(0), even)]
    return means[:, None] + STD * SeededNoise(1).normal(torch.empty(SIZE, 1, dtype=torch.float64))


class End(NamedTuple):
    """What a sampler reached."""

    std: float  # of the Gaussian, over the truth
    off: float  # of its mean, in standard deviations
    spread: float  # of the mixture's draws, over the truth
    distance: float  # of the mixture's draws, W_1


def end(name: str, schedule: Schedule, count: int) -> End:
    sampler, process, x_0 = SAMPLERS[name], Affine(schedule), draws_of_the_mixture()
    times, gaussians = sampler.grid(schedule, count), 2 + sampler.evaluations(count) + count
    truth, noise = Exact(process, gaussians), Both(gaussians)
    alpha, sigma, _ = schedule.at(times[0])
    x = torch.full((gaussians, 1), MEAN_OF_ONE * alpha, dtype=torch.float64)
    x[1] += math.hypot(STD_OF_ONE * alpha, sigma)
    x = torch.cat([x, process.corrupt(x_0, times[0], SeededNoise(2))])
    denoise = (lambda x, t: Belief(truth(x, t), 0.0)) if sampler.learned_variance else truth
    x = last(trajectory(sampler.make(process), denoise, x, times, noise))
    gaussian, mixture = x[:gaussians, 0], x[gaussians:]
    return End(
        float((gaussian - gaussian[0]).norm()) / STD_OF_ONE,
        abs(float(gaussian[0]) - MEAN_OF_ONE) / STD_OF_ONE,
        float(mixture.std() / x_0.std()),
        float((mixture.sort(0).values - x_0.sort(0).values).abs().mean()),
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_on_every_schedule(name, schedule):
    """Finite and of the data's size at 5, 10, 20 and 100 steps; close at 100, on a Gaussian and on a mixture."""
    for count in (5, 10, 20, 100):
        reached = end(name, SCHEDULES[schedule], count)
        assert all(math.isfinite(value) for value in reached), (count, reached)
        assert max(reached.std, reached.spread) < EXPLODING, (count, reached)
        assert min(reached.std, reached.spread) > 0.4, (count, reached)
        assert reached.off < 1, (count, reached)
    std, mean = CLOSE.get(name, HIGHER_ORDER)
    assert abs(reached.std - 1) < std, reached
    assert reached.off < mean, reached
    assert reached.distance < FAR, reached


def test_every_schedule_is_in_the_matrix():
    def below(cls: type) -> set[type]:
        return {cls, *(found for child in cls.__subclasses__() for found in below(child))}

    public = {cls for cls in below(Schedule) if cls in vars(p).values() and not cls.__abstractmethods__}
    public -= {p.Learned}  # begins as a line of log-SNR, which is LogLinear's, and ends where it learns to
    public -= {p.Dual}  # is of tokens
    assert {type(schedule) for schedule in SCHEDULES.values()} == public
