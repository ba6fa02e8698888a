"""Progressive distillation: a student that takes one step where its teacher takes two, again and again.

A step of the student from t to t - 1/N must land where two DDIM steps of the teacher do, at z_s after t - 1/(2N):

    x = (z_s - (sigma_s/sigma_t) z_t)/(alpha_s - alpha_t sigma_s/sigma_t),        L = max(SNR, 1) |X(z_t, t) - x|^2

(Salimans and Ho 2022, algorithm 2, with the truncated SNR weight of eq. 9). When N is learned, the student becomes the
teacher, and N halves. Times are equal steps of the angle arctan(sigma/alpha), as the sampler visits them.
"""

import copy
import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap, landing
from undiffuse.denoiser.prediction import X0
from undiffuse.loss.consistency import whole
from undiffuse.loss.denoising import cast, mean
from undiffuse.loss.few_step import Begun, Count, FewStepLoss, Teacher
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import angle_uniform


@dataclass(frozen=True)
class ProgressiveDistillation(FewStepLoss):
    """From ``first`` steps, halved in stages of equal length, to ``evaluations``."""

    evaluations: int = 1
    first: int = 32
    predictions = (*FewStepLoss.predictions, X0)
    taught = True
    samplers = ("jump",)
    asked = (2, 0)
    length = 2.0

    def __post_init__(self) -> None:
        halvings = math.log2(self.first / self.evaluations) if min(self.first, self.evaluations) > 0 else -1
        if halvings < 0 or halvings % 1:
            raise UserError(f"from --loss.first {self.first} steps, halving never leads to {self.evaluations}")

    @property
    def most(self) -> int:
        """As many steps as it was trained for."""
        return self.evaluations

    def for_evaluations(self, count: int) -> Self:
        """Halved down to so many, from at least 16 times as many."""
        return replace(self, evaluations=count, first=count * 2 ** max(4, round(math.log2(self.first / count))))

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """One stage after the other, each half as many steps."""
        return _Halving(self, student, self.require(teacher), steps)


class _Halving(nn.Module):
    """Progressive distillation.

    Attributes:
        before: The student as it was when its steps were half as long: from the second stage on, the teacher.
    """

    def __init__(self, of: ProgressiveDistillation, student: FlowMap, teacher: Teacher, steps: int) -> None:
        super().__init__()
        self.of, self.teacher, self.steps, self.count = of, teacher, steps, Count()
        self.stages = round(math.log2(of.first / of.evaluations)) + 1
        self.before = copy.deepcopy(student).requires_grad_(False)

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,); one step further where the student is in training."""
        done, schedule = self.count(student.training), student.process.schedule
        stage = min(done * self.stages // self.steps, self.stages - 1)
        if student.training and stage and stage != (done - 1) * self.stages // self.steps:
            self.before.adopt(student)
        times = torch.tensor(angle_uniform(schedule, 2 * self.of.first // 2**stage), dtype=torch.float64)
        i = 2 * whole(noise, len(x_0), len(times) // 2)
        t, s, r = times[i], times[i + 1], times[i + 2]
        z_t = student.process.corrupt(x_0, t, noise)
        with torch.no_grad():
            z_s = landing(schedule, z_t, self._says(schedule, z_t, t, conditions, stage), t, s)
            z_r = landing(schedule, z_s, self._says(schedule, z_s, s, conditions, stage), s, r)
        error = mean((student(z_t, t, conditions) - aim(schedule, z_t, z_r, t, r)) ** 2)
        return error * cast(schedule.at(t).log_snr.exp().clamp(min=1), error)

    def _says(self, schedule: Schedule, x_t: Tensor, t: Tensor, conditions: Conditions | None, stage: int) -> Tensor:
        """x_0, as the teacher of this stage sees it."""
        return self.before(x_t, t, conditions) if stage else self.teacher(schedule, x_t, t, conditions)


def aim(schedule: Schedule, x_t: Tensor, x_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The X toward which DDIM's line from x_t at t passes through x_s at s: the inverse of `landing`."""
    now, then = schedule.at(t), schedule.at(s)
    r = then.sigma / now.sigma
    across = then.alpha - r * now.alpha
    return combine(1 / across, x_s, -r / across, x_t)
