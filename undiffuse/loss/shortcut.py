"""Shortcut models: a jump is two jumps of half its length (Frans et al. 2025).

On the straight schedule, z_s = z_t - (t - s) u(z_t, t, s), a network that is right over half the way teaches itself the
whole (their eq. 4), with m = (t + s)/2:

    u(z_t, t, s)  <-  (u(z_t, t, m) + u(z_m, m, s))/2,        z_m = z_t - (t - m) u(z_t, t, m)

A share of the rows learns that; the others learn the velocity itself, u(z_t, t, t) <- z - x_0. Jumps have lengths 2/M,
4/M, ..., 1 and begin at multiples of their length: each length stands on the one below, and the lowest on two Euler
steps along the velocity. An average of the weights teaches.
"""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.denoising import Distance, Squared, mean
from undiffuse.loss.few_step import FewStepLoss, Teacher
from undiffuse.loss.straight import last, mean_velocity, moved, times
from undiffuse.loss.time import TimeDistribution, Uniform
from undiffuse.process.schedule import Schedule


@dataclass(frozen=True)
class Shortcut(FewStepLoss):
    """From data alone; a teacher only lends its weights to begin with.

    Attributes:
        time: The law of t on the straight schedule where the velocity is learned.
        jumps: The share of rows that learn jumps.
        finest: M, a power of 2: the velocity is good for steps of 1/M.
        average: The share of the average of the weights that a step keeps.
        distance: Of what the network says from what it is taught.
    """

    time: TimeDistribution = field(default_factory=Uniform)
    jumps: float = 0.25
    finest: int = 128
    average: float = 0.999
    distance: Distance = field(default_factory=Squared)
    told_where = True
    samplers = ("jump", "consistency")
    asked = (0, 0.5)

    def __post_init__(self) -> None:
        if self.finest < 2 or self.finest & (self.finest - 1):
            raise UserError(f"finest is a power of 2, at least 2, not {self.finest}")
        if not (0 < self.jumps <= 1 and 0 <= self.average < 1):
            raise UserError(f"jumps lies in (0, 1] and average in [0, 1), not {self.jumps} and {self.average}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> "Halves":
        """Beside an average of the student's weights."""
        return Halves(self, student)


class Halves(nn.Module):
    """`Shortcut` in training, with the average of the student's weights."""

    steps: Tensor  # that the average has seen

    def __init__(self, design: Shortcut, student: FlowMap) -> None:
        super().__init__()
        self.design = design
        self.slow = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,): of jumps in the first rows, of the velocity in the others."""
        if student.training:
            self.follow(student)
        t, s = self.times(len(x_0), noise, student.process.schedule)
        z = noise.normal(x_0)
        z_t = combine(1 - t, x_0, t, z)
        with torch.no_grad():
            moving = slice(self.moving(len(x_0)))
            given = None if conditions is None else conditions[moving]
            whole = self.halves(z_t[moving], t[moving], s[moving], given)
            target = torch.cat([whole, (z - x_0)[len(whole) :]])
        return self.design.distance(mean((mean_velocity(student, z_t, t, s, conditions) - target) ** 2))

    def halves(self, z_t: Tensor, t: Tensor, s: Tensor, conditions: Conditions | None) -> Tensor:
        """The mean of the velocities of two half jumps; of the lowest length, by the velocity itself."""
        middle = (t + s) / 2
        lowest = t - s < 3 / self.design.finest
        first = mean_velocity(self.slow, z_t, t, torch.where(lowest, t, middle), conditions)
        there = moved(z_t, first, t, middle)
        second = mean_velocity(self.slow, there, middle, torch.where(lowest, middle, s), conditions)
        return 0.5 * (first + second)

    def times(self, count: int, noise: Noise, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """(t, s), (count,) each: jumps of a random length in the first rows, s = t in the others."""
        moving = self.moving(count)
        length, place = (noise.uniform(torch.empty(moving, dtype=torch.float64)) for _ in range(2))
        parts = torch.exp2((length * math.log2(self.design.finest)).floor())  # 1, 2, ..., M/2 jumps to the data
        s = (place * parts).floor() / parts
        t = (s + 1 / parts).clamp(max=last(schedule))
        still = times(self.design.time, count - moving, noise, schedule)
        return torch.cat([t, still]), torch.cat([s, still])

    def moving(self, count: int) -> int:
        """How many of ``count`` rows jump."""
        return max(round(self.design.jumps * count), 1)

    @torch.no_grad()
    def follow(self, student: FlowMap) -> None:
        """Take the student's weights into the average, of the latest weights at first."""
        share = torch.maximum(10 / (10 + self.steps), self.steps.new_tensor(1 - self.design.average))
        self.steps += 1
        for slow, fast in zip(self.slow.parameters(), student.parameters(), strict=True):
            slow.lerp_(fast, share.to(fast))
