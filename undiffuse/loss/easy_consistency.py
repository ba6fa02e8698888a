"""Easy consistency tuning: from a diffusion model to a consistency model by closing a gap (Geng et al. 2024).

    L = E 1/(sigma_t - sigma_s) d( X(x_t, t), X(x_s, s) ),        sigma = sigma/alpha, one x_0, one z

At first s = 0, and this is diffusion's own loss: a trained model is where it begins. Then s draws near to t, stage by
stage: sigma_s = sigma_t max(0, 1 - n(sigma_t)/2^(stage + 1)), n(sigma) = 1 + 8/(1 + e^sigma).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.consistency import apart
from undiffuse.loss.denoising import Distance, PseudoHuber, cast
from undiffuse.loss.few_step import Begun, Count, FewStepLoss, Teacher
from undiffuse.loss.time import LogNormal, TimeDistribution


@dataclass(frozen=True)
class EasyConsistencyTuning(FewStepLoss):
    """In so many ``stages`` of equal length; t by its own law, the paper's for data of unit variance."""

    stages: int = 8
    time: TimeDistribution = field(default_factory=lambda: LogNormal(-0.4, 2.0))
    distance: Distance = field(default_factory=PseudoHuber)
    asked = (0, 1)

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise UserError(f"stages must be at least 1, not {self.stages}")

    def training(self, student: FlowMap, teacher: Teacher | None, steps: int) -> Begun:
        """Stage by stage; without a teacher, the first trains a diffusion."""
        return _Tuning(self, steps)

    def nearer(self, sigma: Tensor, stage: int) -> Tensor:
        """sigma_s below sigma_t (batch,), 0 where the gap is all of it."""
        return sigma * (1 - (1 + 8 * torch.sigmoid(-sigma)) / 2 ** (stage + 1)).clamp(min=0)


class _Tuning(nn.Module):
    """Easy consistency tuning."""

    def __init__(self, of: EasyConsistencyTuning, steps: int) -> None:
        super().__init__()
        self.of, self.steps = of, steps
        self.count = Count()

    def forward(self, student: FlowMap, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """(batch,); one step further where the student is in training."""
        of, schedule = self.of, student.process.schedule
        stage = min(self.count(student.training) * of.stages // self.steps, of.stages - 1)
        t = of.time.sample(len(x_0), noise, schedule)
        sigma = (-0.5 * schedule.at(t).log_snr).exp()
        nearer = of.nearer(sigma, stage)
        s = torch.where(nearer > 0, schedule.time(-2 * nearer.clamp(min=1e-9).log()), 0.0)
        return cast(1 / (sigma - nearer), x_0) * of.distance(apart(student, x_0, t, s, noise, conditions))
