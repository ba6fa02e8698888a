"""Improved consistency training: from data alone, to match distillation (Song and Dhariwal 2024).

    L = E 1/(sigma_t - sigma_s) d( X(x_t, t), X(x_s, s) ),        t and s neighbours, one x_0, one z

sigma is sigma/alpha. What it changes of `ConsistencyTraining` (table 1 of the paper): the grid doubles from ``first``
to ``last`` levels in stages of equal length; log sigma_s is normal, rounded to the grid, as errors at small noise
come first; steps weigh by how short they are; the distance is pseudo-Huber's; and no average of the weights is the
target.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.consistency import apart, levels
from undiffuse.loss.denoising import Distance, PseudoHuber, cast
from undiffuse.loss.few_step import Begun, Count, FewStepLoss, Teacher


@dataclass(frozen=True)
class ImprovedConsistencyTraining(FewStepLoss):
    """From ``first`` to ``last`` levels, log sigma ~ N(``mean``, ``std``^2).

    The law is the paper's, for data of unit variance.
    """

    first: int = 10
    last: int = 1280
    mean: float = -0.4
    std: float = 2.0
    distance: Distance = field(default_factory=PseudoHuber)
    asked = (0, 1)

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.last or not self.std > 0:
            raise UserError(f"levels are at least 2 and rise from first to last, and std is above 0, not {self}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """Neighbours of one x_0 and one z."""
        return _Improved(self, steps)

    def levels(self, share: float) -> int:
        """How many after a ``share`` of the training: min(first 2^stage, last)."""
        stages = math.floor(math.log2(self.last / self.first)) + 1
        return min(self.first * 2 ** math.floor(share * stages), self.last)


class _Improved(nn.Module):
    """Improved consistency training."""

    def __init__(self, of: ImprovedConsistencyTraining, steps: int) -> None:
        super().__init__()
        self.of, self.steps = of, steps
        self.count = Count()

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,); one step further where the student is in training."""
        of, schedule = self.of, student.process.schedule
        times = levels(schedule, of.levels(self.count(student.training) / self.steps))
        log_sigma = -0.5 * schedule.at(times[:-1]).log_snr
        edges = torch.special.erf((log_sigma - of.mean) / (of.std * math.sqrt(2)))
        shares = torch.cat([edges[:-1] - edges[1:], edges[-1:] + 1])  # the last is all that is below the least level
        below = shares.cumsum(0) / shares.sum()
        i = torch.searchsorted(below, noise.uniform(torch.empty(len(x_0), dtype=torch.float64)), right=True)
        t, s = times[i], times[i + 1]
        lengths = (-0.5 * schedule.at(t).log_snr).exp() - (-0.5 * schedule.at(s).log_snr).exp()
        return cast(1 / lengths, x_0) * of.distance(apart(student, x_0, t, s, noise, conditions))
