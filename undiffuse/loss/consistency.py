"""Consistency: two neighbours on one path of the flow end at the same data (Song et al. 2023).

    L = E w d( X(x_t, t), X(x_s, s) ),        s the next time below t, no gradient through the second

In *distillation* a teacher takes the step from x_t to x_s, by Heun's rule (algorithm 2 of the paper). In *training*
nobody teaches: x_t and x_s are one x_0 with one z, whose step is right on average (algorithm 3). At s = 0 the network
is not asked: X is x_0 itself, or where the teacher ends, and so the truth enters.

The target has the student's own weights, not an average of them, which would leave a bias in training (Song and
Dhariwal 2024, section 3.2).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import LEAST, FlowMap, landing
from undiffuse.loss.denoising import Distance, PseudoHuber, Squared, mean
from undiffuse.loss.few_step import Begun, Count, FewStepLoss, Teacher
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import Karras

RHO, LOWEST = Karras().rho, Karras().sigma_min


@dataclass(frozen=True)
class ConsistencyDistillation(FewStepLoss):
    """Between neighbours a step of Karras' grid of so many ``levels`` apart; 18 is the paper's.

    The grid is shifted for every row, so that all times are learned and a sample may visit any.
    """

    levels: int = 18
    distance: Distance = field(default_factory=Squared)
    taught = True
    asked = (2, 1)
    length = 2.0

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UserError(f"levels must be at least 2, not {self.levels}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """Neighbours on the teacher's flow."""
        teacher = self.require(teacher)

        def loss(student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
            t, s = neighbours(student.process.schedule, self.levels, len(x_0), noise)
            x_t = student.process.corrupt(x_0, t, noise)
            x_s, end = heun(teacher, student.process.schedule, x_t, t, s, conditions)
            return self.distance(disagreement(student, (x_t, t), (x_s, s), end, conditions))

        return loss


@dataclass(frozen=True)
class ConsistencyTraining(FewStepLoss):
    """From data alone, on ever finer grids: after k of K steps N^2 = first^2 + k/K (last^2 - first^2) levels.

    That is the paper's (appendix C). A coarse grid is a bias that helps to begin; the finest is what
    remains: on a grid the fixed point is Euler's solution of the flow.
    """

    first: int = 2
    last: int = 150
    distance: Distance = field(default_factory=PseudoHuber)
    asked = (0, 1)

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.last:
            raise UserError(f"levels are at least 2, and rise from first to last, not from {self.first} to {self.last}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """Neighbours of one x_0 and one z."""
        return _Training(self, steps)

    def levels(self, share: float) -> int:
        """How many after a ``share`` of the training."""
        return round((share * (self.last**2 - self.first**2) + self.first**2) ** 0.5)


class _Training(nn.Module):
    """Consistency training."""

    def __init__(self, of: ConsistencyTraining, steps: int) -> None:
        super().__init__()
        self.of, self.steps = of, steps
        self.count = Count()

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,); one step further where the student is in training."""
        count = self.of.levels(min(1.0, self.count(student.training) / self.steps))
        t, s = neighbours(student.process.schedule, count, len(x_0), noise)
        return self.of.distance(apart(student, x_0, t, s, noise, conditions))


def apart(student: FlowMap, x_0: Tensor, t: Tensor, s: Tensor, noise: Noise, conditions: Conditions | None) -> Tensor:
    """Mean square disagreement (batch,) of the ends from t and from s < t, of one x_0 with one z."""
    process = student.process
    z = process.z.sample(x_0, noise)
    return disagreement(student, (process.mix(x_0, z, t), t), (process.mix(x_0, z, s), s), x_0, conditions)


def disagreement(
    student: FlowMap,
    here: tuple[Tensor, Tensor],
    there: tuple[Tensor, Tensor],
    end: Tensor,
    conditions: Conditions | None,
) -> Tensor:
    """Mean square (batch,) of X(x_t, t) - X(x_s, s), the second without a gradient, and the ``end`` where s = 0."""
    (x_t, t), (x_s, s) = here, there
    with torch.no_grad():
        inside = (s > 0).to(x_s.device).view(-1, *[1] * (x_s.ndim - 1))
        target = torch.where(inside, student(x_s, torch.where(s > 0, s, 0.5), conditions), end)
    return mean((student(x_t, t, conditions) - target) ** 2)


def heun(
    teacher: Teacher, schedule: Schedule, x_t: Tensor, t: Tensor, s: Tensor, conditions: Conditions | None
) -> tuple[Tensor, Tensor]:
    """(x_s, E[x_0 | x_t]): the teacher's step of order 2; at s = 0, of order 1, x_s is E[x_0 | x_t] (`step.heun`)."""
    x_0 = teacher(schedule, x_t, t, conditions)
    now, then = schedule.at(t), schedule.at(s)
    trust = torch.where(s > 0, 0.5 * torch.exp(0.5 * (then.log_snr - now.log_snr)), 0.0)  # 1/(2r)
    trust = trust.to(x_t).view(-1, *[1] * (x_t.ndim - 1))
    again = teacher(schedule, landing(schedule, x_t, x_0, t, s), s.clamp(min=1e-5), conditions)
    return landing(schedule, x_t, x_0 + trust * (again - x_0), t, s), x_0


def neighbours(schedule: Schedule, levels: int, count: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """(t, s) (count,): t anywhere on Karras' curve, s a step of so many ``levels`` further, 0 beyond its end."""
    at = noise.uniform(torch.empty(count, dtype=torch.float64))
    further = at + 1 / (levels - 1)
    low, high = (sigma ** (1 / RHO) for sigma in (LOWEST, math.exp(-0.5 * max(LEAST, schedule.at(1.0).log_snr))))
    t, s = (schedule.time(-2 * RHO * (high + p.clamp(max=1) * (low - high)).log()) for p in (at, further))
    return t, torch.where(further < 1, s, 0.0)


def levels(schedule: Schedule, count: int) -> Tensor:
    """Times of Karras' grid: float64 (count + 1,)."""
    return torch.tensor(Karras()(schedule, count), dtype=torch.float64)


def whole(noise: Noise, count: int, below: int) -> Tensor:
    """(count,) whole numbers from 0, each as likely."""
    return (noise.uniform(torch.empty(count, dtype=torch.float64)) * below).long()
