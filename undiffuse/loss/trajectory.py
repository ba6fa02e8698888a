"""Trajectories: where the teacher's flow ends, learned along the way there (Luhman and Luhman 2021, eq. 6).

    L = E d( X(x_t, t), x_0 ),        x_t on the teacher's flow from noise x_1 to its end x_0

The teacher solves the flow from fresh noise. Every state on the way has the same end, so one solution gives many pairs.
Nothing is bootstrapped: the minimum is the consistency function of the solver, and no error of the student is learned
again.

States are learned as evenly as the angle arctan(sigma/alpha) at which they lie, as the sampler's grid has it. In equal
steps of log-SNR most of them are nearly noise or nearly data, and a second evaluation, which asks in between, where the
flow is hardest to foresee, makes samples worse.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import LEAST, FlowMap
from undiffuse.denoiser.prediction import X0
from undiffuse.loss.denoising import Distance, PseudoHuber, mean
from undiffuse.loss.few_step import Begun, FewStepLoss, Teacher
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.loop import trajectory
from undiffuse.step.unipc import UniPC

STATES = 4  # learned of each solution: its start, and some on the way


@dataclass(frozen=True)
class TrajectoryDistillation(FewStepLoss):
    """A quarter of a batch of solutions in so many ``points``, each with its start and three states on the way."""

    points: int = 16
    distance: Distance = field(default_factory=PseudoHuber)
    predictions = (*FewStepLoss.predictions, X0)
    taught = True
    asked = (4, 0)
    length = 2.0

    def __post_init__(self) -> None:
        if self.points < 2:
            raise UserError(f"points must be at least 2, not {self.points}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """Solutions of the teacher's flow, drawn anew at each step."""
        teacher = self.require(teacher)

        def loss(student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
            rows = max(1, len(x_0) // STATES)
            some = None if conditions is None else conditions[:rows]
            times = shifted(student.process.schedule, self.points, noise)
            start = student.process.start(x_0[:rows], noise, times[0])
            states = solution(student, teacher, start, times, noise, some)
            i = torch.cat([torch.zeros(1, rows, dtype=torch.int64), on_the_way(student, times, rows, noise)])
            t = torch.tensor(times, dtype=torch.float64)[i].flatten()
            x_t = states[i, torch.arange(rows)].flatten(0, 1)
            error = student(x_t, t, some and some.repeat(STATES)) - states[-1].repeat(STATES, *[1] * (x_0.ndim - 1))
            return self.distance(mean(error**2))

        return loss


@torch.no_grad()
def solution(
    student: FlowMap, teacher: Teacher, x: Tensor, times: tuple[float, ...], noise: Noise, conditions: Conditions | None
) -> Tensor:
    """The teacher's flow from x (batch, *shape) at these times, by UniPC: (times, batch, *shape)."""
    schedule = student.process.schedule

    def denoise(x_t: Tensor, t: float) -> Tensor:
        return teacher(schedule, x_t, torch.full((len(x_t),), t, dtype=torch.float64), conditions)

    return torch.stack([x for x, _ in trajectory(UniPC(student.process), denoise, x, times, noise)])


def on_the_way(student: FlowMap, times: tuple[float, ...], rows: int, noise: Noise) -> Tensor:
    """Which of the times between the first and the last, (STATES - 1, rows): in proportion to the angle before it."""
    angles = (-0.5 * student.process.schedule.at(torch.tensor(times[:-1], dtype=torch.float64)).log_snr).exp().atan()
    drawn = angles[0] * noise.uniform(torch.empty(STATES - 1, rows, dtype=torch.float64))
    return len(angles) - torch.searchsorted(angles[1:].flip(0), drawn, right=True).clamp(min=1)


def shifted(schedule: Schedule, count: int, noise: Noise) -> tuple[float, ...]:
    """Even steps of log-SNR to the data, from where a network is told of noise.

    The inner times are moved together by up to a step, so that all are visited. It ends as `grid.widening`.
    """
    first, last = max(LEAST, schedule.at(1.0).log_snr), -2 * math.log(3.3 * count**-2)
    levels = torch.linspace(first, last, count, dtype=torch.float64)
    share = float(noise.uniform(torch.empty(1, dtype=torch.float64)).clamp(0.01, 1.0))
    moved = torch.cat([levels[:1], torch.lerp(levels[:-1], levels[1:], share)])
    return (*schedule.time(moved).tolist(), 0.0)
