"""Continuous-time consistency: neighbours so near that their difference is a derivative (sCM, Lu and Song 2025).

On the angle phi = arctan(sigma/alpha), with w = cos phi x_0 + sin phi z, the network is F(w, phi), what v-prediction
says, and where the flow ends is f = cos phi w - sin phi F. Consistency says that df/dphi = 0 along the flow. So F moves
by the tangent

    g = cos phi df/dphi = -cos^2 phi (F - v) - r cos phi sin phi (w + dF/dphi),         dw/dphi = v

    L = e^u |F - F' - g/(|g| + c)|^2 - u,       F' is F without gradient, u(phi) learned (adaptive weighting)

(algorithm 1 of the paper). v is the teacher's in *distillation*, and cos phi z - sin phi x_0 in *training*, right on
average. r rises from 0 to 1 as training begins; |g| is the root mean square of a sample. The network reads log-SNR,
whose derivative is -2/(sin phi cos phi): times cos phi sin phi, the tangent is finite everywhere. dF/dphi is a
forward-mode derivative (`torch.func.jvp`), so attention needs its plain form.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.waves import Sinusoidal
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine, scale
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import LEAST, FlowMap
from undiffuse.denoiser.gaussian import noise_level
from undiffuse.denoiser.prediction import V
from undiffuse.loss.denoising import mean
from undiffuse.loss.few_step import Begun, Count, FewStepLoss, Teacher, velocity
from undiffuse.loss.time import LogNormal, TimeDistribution
from undiffuse.process.schedule import VariancePreserving

WIDTH = 32  # of the waves that the learned weight is linear in


@dataclass(frozen=True)
class ContinuousDistillation(FewStepLoss):
    """sCD: the teacher's v. ``time`` is the paper's law, for data of unit variance; r rises over a share ``warmup``."""

    time: TimeDistribution = field(default_factory=lambda: LogNormal(-0.1, 1.6))
    warmup: float = 0.2
    taught = True
    asked = (1, 2)
    length = 2.0

    def __post_init__(self) -> None:
        _check(self.warmup)

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """V is the teacher's."""
        return _Tangents(student, self.require(teacher), self.time, self.warmup * steps)


@dataclass(frozen=True)
class ContinuousTraining(FewStepLoss):
    """sCT: v of the data alone. ``time`` and ``warmup`` are as in `ContinuousDistillation`."""

    time: TimeDistribution = field(default_factory=lambda: LogNormal(-0.3, 1.4))
    warmup: float = 0.2
    asked = (0, 2)
    length = 2.0

    def __post_init__(self) -> None:
        _check(self.warmup)

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """V is that of one x_0 and one z."""
        return _Tangents(student, None, self.time, self.warmup * steps)


class _Tangents(nn.Module):
    """Continuous-time consistency, r = 1 after ``warmup`` steps."""

    def __init__(self, student: FlowMap, teacher: Teacher | None, time: TimeDistribution, warmup: float) -> None:
        super().__init__()
        if not (isinstance(student.process.schedule, VariancePreserving) and isinstance(student.prediction, V)):
            raise UserError("continuous consistency goes by angles: choose --schedule cosine --prediction v")
        self.teacher, self.time, self.warmup, self.count = teacher, time, warmup, Count()
        self.waves, self.weight = Sinusoidal(WIDTH), nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,); one step further where the student is in training."""
        share = min(1.0, self.count(student.training) / self.warmup) if self.warmup else 1.0
        process = student.process
        t, z = self.time.sample(len(x_0), noise, process.schedule), process.z.sample(x_0, noise)
        w = process.mix(x_0, z, t)
        toward = x_0 if self.teacher is None else self.teacher(process.schedule, w, t, conditions)
        g = tangent(student, w, velocity(process.schedule, w, toward, t), t, conditions, share)
        says = student.output(w, t, conditions)
        moved = says.detach() + g / (mean(g**2).sqrt() + 0.1).view(-1, *[1] * (g.ndim - 1))
        level = noise_level(process.schedule.at(t).log_snr, x_0.device).clamp(min=LEAST)
        u = self.weight(self.waves(level))[:, 0]
        return u.exp() * mean((says - moved) ** 2) - u


@torch.no_grad()
def tangent(
    student: FlowMap, w: Tensor, v: Tensor, t: Tensor, conditions: Conditions | None, share: float = 1.0
) -> Tensor:
    """g (batch, *shape) at w of the times t (batch,), where dw/dphi = v; the second part times ``share``, r above."""
    alpha, sigma, log_snr = student.process.schedule.at(t)
    level = noise_level(log_snr, w.device, w.dtype)
    inside = level > LEAST

    def says(w: Tensor, level: Tensor) -> Tensor:
        return student.net(w, student.encoder(level, conditions))

    with sdpa_kernel(SDPBackend.MATH):
        rates = scale(alpha * sigma, v), torch.where(inside, -2.0, 0.0).to(level)
        y, rate = torch.func.jvp(says, (w, level.clamp(min=LEAST)), rates)[:2]
    return scale(-(alpha**2), y - v) - share * combine(alpha * sigma, w, 1.0, rate)


def _check(warmup: float) -> None:
    if not 0 <= warmup <= 1:
        raise UserError(f"warmup is a share of the training, from 0 to 1, not {warmup}")
