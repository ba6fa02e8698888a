"""MeanFlow: a network learns the mean velocity of the flow between two times (Geng et al. 2025).

On the straight schedule, z_t = (1 - t) x_0 + t z, a jump from t to s is z_s = z_t - (t - s) u, and u, the mean of the
velocity v on the way, obeys an identity without an integral (their eq. 6):

    u(z_t, t, s) = v(z_t, t) - (t - s) du/dt,        du/dt = (du/dz_t) v + (partial) du/dt, along the flow

    L = E w |u - stop(v - (t - s) du/dt)|^2,         w = 1/(|u - ...|^2 + c)^p, no gradient through w

The derivative is one forward-mode product of the network's Jacobian with (v, 1). From scratch, v is one pair's z - x_0:
the identity is linear in v, so its mean over all pairs through z_t is that of the flow's own velocity. A teacher says
that velocity, without noise.

Improved MeanFlow (Geng et al. 2025b) takes the derivative along the network's own velocity u(z_t, t, t) instead. The
minimiser stays, and the target errs by v alone, no longer by (1 - (t - s) du/dz_t) v: for data N(m, s^2) a variance of
s^2/S_t^2 in place of s^2 S_s^2/S_t^4, with S_t^2 the variance of z_t, up to 1/s^2 times less near the noise. What says
the velocity while u is learned may also be a head of its own, which learns v alone and is thrown away (`Headed`).
"""

import copy
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine, expand
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.denoising import mean
from undiffuse.loss.few_step import Begun, FewStepLoss, Teacher
from undiffuse.loss.straight import STRAIGHT, mean_velocity, spans, toward
from undiffuse.loss.time import LogitNormal, TimeDistribution
from undiffuse.process.schedule import Schedule


class Motion(NamedTuple):
    """Rows on their ways, and how fast they go there."""

    z_t: Tensor  # (batch, *shape)
    t: Tensor  # (batch,)
    v: Tensor  # (batch, *shape); of one pair z - x_0, at first
    conditions: Conditions | None

    def first(self, count: int) -> Self:
        """The first ``count`` rows."""
        conditions = None if self.conditions is None else self.conditions[:count]
        return type(self)(self.z_t[:count], self.t[:count], self.v[:count], conditions)


@dataclass(frozen=True)
class MeanVelocity(FewStepLoss):
    """What its three forms share; they differ in v, and in what the derivative is along.

    Attributes:
        time: The law of times on the straight schedule, of which t and s are two draws; the paper's for pictures.
        jumps: The share of rows with s < t; in the others s = t, where u is the velocity itself.
        ends: The share of rows at t = 1, and of jumps that end at s = 0; see `undiffuse.loss.straight`.
        power, c: p and c of the weight w; p = 0 is the plain square, p = 1 is the paper's.
    """

    time: TimeDistribution = field(default_factory=lambda: LogitNormal(-0.4, 1.0))
    jumps: float = 0.25
    ends: float = 0.25
    power: float = 1.0
    c: float = 0.01
    told_where = True
    samplers = ("jump", "consistency")
    asked = (0, 1)
    staged = False

    def __post_init__(self) -> None:
        if not (0 < self.jumps <= 1 and 0 <= self.ends <= 1):
            raise UserError(f"jumps and ends are shares, jumps above 0, not {self.jumps} and {self.ends}")
        if not (self.power >= 0 and self.c > 0):
            raise UserError(f"the weight 1/(e^2 + c)^power needs power >= 0 and c > 0, not {self.power} and {self.c}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """The identity at the times of a batch."""

        def loss(student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
            at, s = self.drawn(student, teacher, x_0, noise, conditions)
            return self.losses(student, at, s, self.target(student, at, s))

        return loss

    @torch.no_grad()
    def drawn(
        self, student: FlowMap, teacher: Teacher | None, x_0: Tensor, noise: Noise, conditions: Conditions | None
    ) -> tuple[Motion, Tensor]:
        """Rows on their ways, and s (batch,), where their jumps end."""
        t, s = self.times(len(x_0), noise, student.process.schedule)
        z = noise.normal(x_0)
        at = Motion(combine(1 - t, x_0, t, z), t, z - x_0, conditions)
        return at._replace(v=self.velocity(student, teacher, at)), s

    def losses(self, by: FlowMap, at: Motion, s: Tensor, target: Tensor) -> Tensor:
        """How far ``by``'s mean velocities are from the target, weighed: (batch,)."""
        squared = mean((mean_velocity(by, at.z_t, at.t, s, at.conditions) - target) ** 2)
        return squared / (squared.detach() + self.c) ** self.power

    def times(self, count: int, noise: Noise, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """(t, s), (count,) each: the first rows jump, and in the others s = t."""
        t, s = spans(self.time, self.ends, count, noise, schedule)
        return t, torch.where(torch.arange(count) < self.moving(count), s, t)

    def moving(self, count: int) -> int:
        """How many of ``count`` rows jump."""
        return max(round(self.jumps * count), 1)

    @torch.no_grad()
    def target(self, student: FlowMap, at: Motion, s: Tensor, head: FlowMap | None = None) -> Tensor:
        """V - (t - s) du/dt (batch, *shape); the rows that jump come first. A ``head`` says the velocity for it."""
        some = at.first(self.moving(len(at.z_t)))
        where = s[: len(some.z_t)]
        with sdpa_kernel(SDPBackend.MATH):  # the other forms of attention have no forward derivative
            _, rate = cast(
                tuple[Tensor, Tensor],
                torch.func.jvp(
                    lambda z_t, t: mean_velocity(student, z_t, t, where, some.conditions),
                    (some.z_t, some.t),
                    (self.along(head or student, some), torch.ones_like(some.t)),
                ),
            )
        return torch.cat([some.v - expand(some.t - where, rate) * rate, at.v[len(some.z_t) :]])

    def along(self, by: FlowMap, at: Motion) -> Tensor:
        """The direction of d/dt: v."""
        return at.v

    @abstractmethod
    def velocity(self, student: FlowMap, teacher: Teacher | None, at: Motion) -> Tensor:
        """What u(z_t, t, t) is to be: (batch, *shape)."""


@dataclass(frozen=True)
class MeanFlow(MeanVelocity):
    """From data alone; a teacher only lends its weights to begin with.

    Attributes:
        omega, kappa: Guidance inside (their eq. 19), where a row has conditions: v becomes omega v +
            kappa u(z_t, t, t) + (1 - omega - kappa) u(z_t, t, t | nothing), a scale of omega/(1 - kappa) in all.
    """

    omega: float = 1.0
    kappa: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.omega > 0 and 0 <= self.kappa < 1):
            raise UserError(f"guidance inside needs omega > 0 and kappa in [0, 1), not {self.omega} and {self.kappa}")

    def velocity(self, student: FlowMap, teacher: Teacher | None, at: Motion) -> Tensor:
        """V, as it is guided."""
        return guided(student, at, self.omega, self.kappa)


@dataclass(frozen=True)
class ImprovedMeanFlow(MeanVelocity):
    """From data alone, with the derivative along the network's own velocity; half of the rows jump, as in the paper.

    Attributes:
        scale: Of the guidance inside, as `MeanFlow`'s with omega = 1 and kappa = 1 - 1/scale.
        head: Whether a head of its own says that velocity; see `Headed`.
    """

    jumps: float = 0.5
    scale: float = 1.0
    head: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.scale < math.inf:
            raise UserError(f"the scale of guidance inside is at least 1, not {self.scale}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """The identity at the times of a batch, with a head or without."""
        return Headed(self, student) if self.head else super().training(student, teacher, steps)

    def along(self, by: FlowMap, at: Motion) -> Tensor:
        """u(z_t, t, t)."""
        return mean_velocity(by, at.z_t, at.t, at.t, at.conditions)

    def velocity(self, student: FlowMap, teacher: Teacher | None, at: Motion) -> Tensor:
        """V, as it is guided."""
        return guided(student, at, 1.0, 1 - 1 / self.scale)


class Headed(nn.Module):
    """`ImprovedMeanFlow` in training with a head: a flow map beside the student's, which learns v at s = t.

    The paper's head shares most layers with the student. This one shares none, so that any network has it; it costs as
    much as a second student.
    """

    def __init__(self, design: ImprovedMeanFlow, student: FlowMap) -> None:
        super().__init__()
        self.design, self.says = design, copy.deepcopy(student)

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,) of the student and of the head."""
        at, s = self.design.drawn(student, None, x_0, noise, conditions)
        target = self.design.target(student, at, s, self.says)
        return self.design.losses(student, at, s, target) + self.design.losses(self.says, at, at.t, at.v)


@dataclass(frozen=True)
class MeanFlowDistillation(MeanVelocity):
    """V is a teacher's velocity, guided as the teacher is; at the minimum the loss is zero."""

    taught = True
    asked = (1, 1)

    def velocity(self, student: FlowMap, teacher: Teacher | None, at: Motion) -> Tensor:
        """E[z - x_0 | z_t], as the teacher says."""
        return toward(self.require(teacher)(STRAIGHT, at.z_t, at.t, at.conditions), at.z_t, at.t)


def guided(student: FlowMap, at: Motion, omega: float, kappa: float) -> Tensor:
    """Omega v + kappa u(z_t, t, t) + (1 - omega - kappa) u(z_t, t, t | nothing); v itself without conditions."""
    if at.conditions is None or (omega, kappa) == (1.0, 0.0):
        return at.v
    asked = mean_velocity(student, at.z_t, at.t, at.t, at.conditions)
    free = mean_velocity(student, at.z_t, at.t, at.t, at.conditions.without())
    return omega * at.v + kappa * asked + (1 - omega - kappa) * free
