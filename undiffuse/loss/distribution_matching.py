"""Distribution matching distillation: a generator follows the difference of two scores (Yin et al. 2024).

One is the teacher's, of the data, the other is learned, of what the generator makes. At any noise level their
difference points from what is made to what should be (variational score distillation, Wang et al. 2023):

    x = X(z, t)                                       what the generator makes of noise
    g = (fake(x_u, u) - real(x_u, u))/mean |x - real(x_u, u)|,       x_u = alpha_u x + sigma_u w, at a random u
    generator  |x - stop(x - g)|^2/2                  whose gradient by x is g (their eq. 7)
    fake       |fake(x_u, u) - x|^2                   an ordinary denoiser of what is made, as it changes

The fake denoiser learns at every step and the generator at every fifth, so that it follows a score that is up to date
(DMD2, Yin et al. 2024b, which needs neither pairs nor a regression beside). A generator of several steps is trained on
what it will see: x_t is made by its own steps before, not from data (their section 4.4).
"""

import copy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Self, cast

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import expand, moved
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.loss.denoising import Denoising, mean
from undiffuse.loss.few_step import Count, FewStepLoss, Teacher
from undiffuse.loss.time import TimeDistribution, Uniform
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import angle_uniform

LEAST = 0.1  # of the noise: the mean of a few numbers may be near 0 by chance


@dataclass(frozen=True)
class DistributionMatching(FewStepLoss):
    """By a teacher.

    Attributes:
        evaluations: For how many the generator is trained: each of them jumps to the data, with fresh noise between.
        critic: Steps of the fake denoiser to one of the generator.
        time: The law of u.
    """

    evaluations: int = 1
    critic: int = 5
    time: TimeDistribution = field(default_factory=lambda: Uniform(start=0.02))
    taught = True
    asked = (0.2, 4)

    def __post_init__(self) -> None:
        if self.evaluations < 1 or self.critic < 1:
            raise UserError(f"evaluations and critic are at least 1, not {self.evaluations} and {self.critic}")

    @property
    def most(self) -> int:
        """As many evaluations as it is trained for."""
        return self.evaluations

    def for_evaluations(self, count: int) -> Self:
        """With so many."""
        return replace(self, evaluations=count)

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> "TwoScores":
        """Beside a fake denoiser, which begins with the teacher's weights too."""
        return TwoScores(self, self.require(teacher), student.process.schedule)


class TwoScores(nn.Module):
    """`DistributionMatching` in training, with the denoiser of what the generator makes."""

    def __init__(self, design: DistributionMatching, teacher: Teacher, schedule: Schedule) -> None:
        super().__init__()
        self.design, self.teacher = design, teacher
        self.fake = cast(Denoiser, copy.deepcopy(teacher.denoiser)).requires_grad_(True).train()
        self.learn = Denoising(design.time)
        self.times = angle_uniform(schedule, design.evaluations)
        self.done = Count()

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,): of the fake denoiser, and at the generator's turn of both. Of x_0 only the shape counts."""
        generators = self.done(student.training) % self.design.critic == 0
        x_t, t = self.seen(student, x_0, noise, conditions)
        with torch.set_grad_enabled(generators):
            x = student(x_t, t, conditions)
        losses = self.learn(self.fake, x.detach(), noise, conditions)
        if generators:
            losses = losses + 0.5 * mean((x - (x - self.direction(x.detach(), noise, conditions)).detach()) ** 2)
        return losses

    @torch.no_grad()
    def seen(self, student: FlowMap, like: Tensor, noise: Noise, conditions: Conditions | None) -> tuple[Tensor, float]:
        """(x_t, t), where the generator's last step or an earlier one begins: made by those before it."""
        x_t, steps = student.process.start(like, noise), len(self.times) - 1
        last = int(noise.uniform(torch.empty(1)) * steps)
        for t, s in pairwise(self.times[: last + 1]):
            x_t = student.process.corrupt(student(x_t, t, conditions), s, noise)
        return x_t, self.times[last]

    @torch.no_grad()
    def direction(self, x: Tensor, noise: Noise, conditions: Conditions | None) -> Tensor:
        """G (batch, *shape), along which what is made is to fall."""
        process = self.teacher.process
        u = self.design.time.sample(len(x), noise, process.schedule)
        x_u = process.corrupt(x, u, noise)
        real = self.teacher.denoise(x_u, u, conditions)
        least = LEAST * moved(process.input_scale(u) * process.schedule.at(u).sigma, x.device, x.dtype)
        wrong = torch.maximum(mean((x - real).abs()), least)
        return (self.fake(x_u, u, conditions) - real) * expand(1 / wrong, x)
