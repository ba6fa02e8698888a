"""Inductive moment matching: jumps to s from two times land on one distribution (Zhou, Ermon and Song 2025).

    z_t = (1 - t) x_0 + t z,    z_r = (1 - r) x_0 + r z,    s <= r < t, the same x_0 and z in both
    y_j = where the jump from z_t to s lands,        y'_j = where that from z_r lands, no gradient through it

    L = MMD^2 = mean_jk k(y_j, y_k) + k(y'_j, y'_k) - 2 k(y_j, y'_k)

over groups of M rows that share t, r and s, and a kernel of d = |y - y'|/(D (t - s)), D numbers in a sample: what a
network says is off by d (t - s). If jumps from r are right, so are those from t after training; from r = s there is no
jump, and what is compared with is the data at s. No teacher, and no derivative.

With M = 1 each sample is compared with itself alone: consistency training, which errs unless r is near t. With many
rows in a group r may be far from t, or s itself, which makes the loss an MMD network's (Li et al. 2015): the best there
is for points, and blind for pictures, of which a few do not tell a distribution.

    k(d) = (exp(-c d) - 1)/c        Laplace's kernel at c = 1, the paper's; at c = 0, -d, the energy distance

Rows of a group that are asked for different things are never compared.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine, scale
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.few_step import Begun, FewStepLoss, Teacher
from undiffuse.loss.straight import FIRST, mean_velocity, moved, spans
from undiffuse.loss.time import TimeDistribution, Uniform

TINY = 1e-12  # of a squared distance: its root has a derivative


@dataclass(frozen=True)
class MomentMatching(FewStepLoss):
    """From data alone; a teacher only lends its weights to begin with.

    Attributes:
        group: M, which divides the batch; 4 is the paper's, for pictures.
        gap: How far r lies below t on the straight schedule, or at s, if that is nearer; 1 is always at s.
        c: Of the kernel.
        time: The law of times on the straight schedule, of which t and s are two draws.
        ends: The share of groups that begin at t = 1, and of those that end at s = 0; see `undiffuse.loss.straight`.
    """

    group: int = 4
    gap: float = 0.1
    c: float = 1.0
    time: TimeDistribution = field(default_factory=Uniform)
    ends: float = 0.5
    told_where = True
    samplers = ("jump", "consistency")
    asked = (0, 1)

    def __post_init__(self) -> None:
        if self.group < 1 or not 0 < self.gap <= 1:
            raise UserError(f"group is at least 1, and gap above 0 and at most 1, not {self.group} and {self.gap}")
        if self.c < 0 or not 0 <= self.ends <= 1:
            raise UserError(f"c is at least 0, and ends a share, not {self.c} and {self.ends}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """The method itself, which has nothing to remember."""
        return self

    def check_batch(self, count: int) -> None:
        """Raises UserError where groups do not divide the batch."""
        if count % self.group:
            raise UserError(f"a batch of {count} does not split into groups of {self.group}: change --batch")

    def __call__(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,), one for a group. Raises UserError where groups do not divide the batch."""
        self.check_batch(len(x_0))
        t, s = spans(self.time, self.ends, len(x_0) // self.group, noise, student.process.schedule)
        t, s = t.repeat_interleave(self.group), s.repeat_interleave(self.group)
        r = torch.maximum(t - self.gap, s)
        z = noise.normal(x_0)
        y = jump(student, combine(1 - t, x_0, t, z), t, s, conditions)
        with torch.no_grad():
            there = combine(1 - r, x_0, r, z)
            reached = jump(student, there, r, s, conditions) if (r > s).any() else there
        size = x_0[0].numel() * (t - s).clamp(min=FIRST)
        mine, theirs = (self.grouped(scale(1 / size, one)) for one in (y, reached))
        compared = self.alike(conditions, x_0)
        squared = self.compare(mine, mine, compared) + self.compare(theirs, theirs, compared)
        return (squared - 2 * self.compare(mine, theirs, compared)).repeat_interleave(self.group)

    def compare(self, one: Tensor, other: Tensor, compared: Tensor | None) -> Tensor:
        """The mean of k over the pairs of each group that are ``compared``: (groups,)."""
        d = (one[:, :, None] - other[:, None]).square().sum(-1).clamp(min=TINY).sqrt()
        k = torch.expm1(-self.c * d) / self.c if self.c else -d
        return (k if compared is None else k * compared).mean((1, 2))

    def grouped(self, x: Tensor) -> Tensor:
        """(batch, ...) as (groups, group, numbers)."""
        return x.reshape(-1, self.group, x[0].numel())

    def alike(self, conditions: Conditions | None, like: Tensor) -> Tensor | None:
        """(groups, group, group): 1 where two rows of a group are asked for the same, else 0."""
        if conditions is None:
            return None
        same = torch.ones(len(like) // self.group, self.group, self.group, dtype=torch.bool, device=like.device)
        for values, present in conditions.entries.values():
            asked, there = self.grouped(values), present.reshape(-1, self.group)
            equal = (asked[:, :, None] == asked[:, None]).all(-1) | ~there[:, :, None]
            same &= equal & (there[:, :, None] == there[:, None])
        return same.to(like)


def jump(student: FlowMap, z_t: Tensor, t: Tensor, s: Tensor, conditions: Conditions | None) -> Tensor:
    """Where a jump from t to s lands; z_t itself where s = t."""
    return moved(z_t, mean_velocity(student, z_t, t.clamp(min=FIRST), s, conditions), t, s)
