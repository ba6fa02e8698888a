"""Consistency: two neighbours on one path of the flow end at the same data (Song et al. 2023).

    L = E d( X(x_t, t), X(x_s, s) ),        s the next time below t, no gradient through the second

In *distillation* a teacher takes the step from x_t to x_s, by Heun's rule (algorithm 2 of the paper). At s = 0 the
network is not asked: x_0 itself is there, and so the truth enters.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap, landing
from undiffuse.loss.denoising import Distance, PseudoHuber, mean
from undiffuse.loss.few_step import Begun, FewStepLoss, Teacher
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import Karras


@dataclass(frozen=True)
class ConsistencyDistillation(FewStepLoss):
    """Between neighbours on Karras' grid of so many ``levels``; 18 is the paper's."""

    levels: int = 18
    distance: Distance = field(default_factory=PseudoHuber)
    taught = True
    asked = (2, 1)

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UserError(f"levels must be at least 2, not {self.levels}")

    def begin(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """The student begins with the teacher's weights."""
        teacher = self.require(teacher)
        student.adopt(teacher.denoiser)
        times = torch.tensor(Karras()(student.process.schedule, self.levels), dtype=torch.float64)

        def loss(student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
            schedule = student.process.schedule
            i = (noise.uniform(torch.empty(len(x_0), dtype=torch.float64)) * self.levels).long()
            t, s = times[i], times[i + 1]
            x_t = student.process.corrupt(x_0, t, noise)
            with torch.no_grad():
                x_s, end = heun(teacher, schedule, x_t, t, s, conditions)
                inside = (s > 0).to(x_t.device).view(-1, *[1] * (x_t.ndim - 1))
                target = torch.where(inside, student(x_s, s.clamp(min=float(times[-2])), conditions), end)
            return self.distance(mean((student(x_t, t, conditions) - target) ** 2))

        return loss


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
