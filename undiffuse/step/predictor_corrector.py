"""Predictor-corrector: after any step, let Langevin dynamics repair what it got wrong (Song et al. 2021, alg. 1).

At the new noise level the score is known, so Langevin steps at that level, x + a score + sqrt(2a) w, pull x_s back to
the right distribution without moving time. Their size is a = 2 (snr |w|/|score|)^2, by each sample's *own* score: the
published code takes norms over the batch, and a sample then depends on its neighbours. For |w| stands its expectation,
sqrt(dimensions), so that w stays normal; and a score is never taken to be shorter than that of pure noise, 1/sigma,
for it vanishes at a mode, where a step would be endless.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.denoiser.prediction import to_score
from undiffuse.process.affine import Affine
from undiffuse.step import Step
from undiffuse.step.ancestral import Ancestral


@dataclass(frozen=True)
class PredictorCorrector:
    """A step, then ``corrections`` Langevin steps, one evaluation each; none at the data, which has no score."""

    process: Affine
    predictor: Step | None = None  # ancestral if None
    snr: float = 0.16
    corrections: int = 1

    def __post_init__(self) -> None:
        if not self.snr > 0 or self.corrections < 0:
            raise UserError(
                f"predictor-corrector needs snr > 0 and corrections >= 0, not {self.snr}, {self.corrections}"
            )

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Any, noise: Noise
    ) -> tuple[Tensor, Any]:
        """Predict x_s, correct it. Memory is the predictor's."""
        predictor: Step = self.predictor or Ancestral(self.process)
        x_s, memory = predictor(denoise, x_t, t, s, memory, noise)
        for _ in range(self.corrections if self.process.schedule.at(s).sigma > 0 else 0):
            x_s = self._corrected(denoise, x_s, s, noise)
        return x_s, memory

    def _corrected(self, denoise: Denoise, x: Tensor, s: float, noise: Noise) -> Tensor:
        """One Langevin step at time s."""
        sigma = self.process.schedule.at(s).sigma
        score = to_score(self.process.schedule, x, denoise(x, s), s)
        length = score.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
        size = 2 * (self.snr * math.sqrt(x[0].numel()) / length).clamp_max(self.snr * sigma) ** 2  # (batch, 1, ...)
        return score.mul_(size).add_(x).addcmul_(noise.normal(x), (2 * size).sqrt())
