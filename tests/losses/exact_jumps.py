"""Flow maps, teachers and data that are exactly known, for the laws of the losses of few steps."""

import torch
from torch import Tensor, nn

from undiffuse.core.linear import expand
from undiffuse.exact.gaussian import Gaussian
from undiffuse.loss.few_step import Teacher
from undiffuse.process import Affine, Flow

MEAN, STD = 0.7, 0.4  # of the data


def gaussian(schedule, mean=MEAN, std=STD) -> Gaussian:
    like = torch.tensor([mean], dtype=torch.float64)
    return Gaussian(Affine(schedule), like, torch.tensor([[std**2]], dtype=torch.float64))


def draw(count: int, mean=MEAN, std=STD) -> Tensor:
    return mean + std * torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def teacher(schedule, **of) -> Teacher:
    exact = gaussian(schedule, **of)
    return Teacher(lambda x_t, t, conditions=None: exact(x_t, t), exact.process, nn.Identity())


class Jumps(nn.Module):
    """A flow map, gain X + shift: ``flow(x_t, t, s)`` is where the flow passes, and ``denoise`` is X at s = t."""

    def __init__(self, flow, denoise, schedule, gain: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.flow, self.denoise, self.process = flow, denoise, Affine(schedule)
        self.gain, self.shift = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (gain, shift))

    def forward(self, x_t, t, conditions=None, s=0.0):
        now, then = self.process.schedule.at(t), self.process.schedule.at(s)
        r = then.sigma / now.sigma
        aim = (self.flow(x_t, t, s) - expand(r, x_t) * x_t) / expand(then.alpha - r * now.alpha, x_t)
        still = (torch.as_tensor(t == s)).view(-1, 1)
        return self.gain * torch.where(still, self.denoise(x_t, t), aim) + self.shift

    def adopt(self, other) -> None:
        """It is as it is."""


def jumps(schedule=None, mean=MEAN, std=STD, **wrong) -> Jumps:
    """The flow map of N(mean, std^2)."""
    schedule = schedule or Flow()
    exact = gaussian(schedule, mean, std)
    return Jumps(exact.flow, exact, schedule, **wrong)
