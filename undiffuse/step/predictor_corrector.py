"""Predictor-corrector: after any step, Langevin dynamics correct its error (Song et al. 2021, algorithm 1).

At the new noise level the score is known, so Langevin steps at that level, x + a score + sqrt(2a) w, bring x_s nearer
to the right distribution at the same time s. The paper's size is a = 2 (snr |w|/|score|)^2 with norms averaged over the
batch, so a sample depends on the others. With each sample's *own* norms the noise would depend on the state, and
without the drift that such noise needs, the equilibrium is wrong (twice the variance in one dimension). Here both norms
are those of pure noise, sqrt(dimensions) and sqrt(dimensions)/sigma, so the size depends on the level only:

    a = 2 snr^2 sigma^2,    in any number of dimensions.

A finite step has the bias of `undiffuse.theory.langevin`: along an axis on which x has variance v at that level, the
corrector's equilibrium has v/(1 - a/(2v)) = v/(1 - snr^2 sigma^2/v). As v >= sigma^2, the variance is too large by a
factor of at most 1/(1 - snr^2), 2.6% at snr = .16, which is reached where x is only noise.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
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
        self.process.require_fresh_noise()
        if not 0 < self.snr < 1 or self.corrections < 0:
            raise UserError(
                "predictor-corrector needs corrections >= 0 and an snr in (0, 1), as from 1 on it diverges, "
                f"not {self.corrections}, {self.snr}"
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
        """One Langevin step at time s: x + a score = (1 - c) x + c alpha x_0 with c = a/sigma^2 = 2 snr^2."""
        alpha, sigma, _ = self.process.schedule.at(s)
        c = 2 * self.snr**2
        x = combine(1 - c, x, c * alpha, denoise(x, s))
        return x.add_(noise.normal(x), alpha=math.sqrt(2 * c) * sigma)
