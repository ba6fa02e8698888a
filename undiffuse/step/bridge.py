"""A step of a bridge with fresh noise: Euler and Maruyama's, of the SDE that leads to x_0 (Shi et al. 2023, eq. 9).

    dX = (E[x_0 | X] - X)/t d(-t) + sigma dB
    x_s = x_t + (t - s)/t (E[x_0 | x_t] - x_t) + sigma sqrt(t - s) w,      no noise in the last step, to s = 0

The posterior of a bridge that is pinned at E[x_0 | x_t] has the same mean and less noise, sigma sqrt(s (t - s)/t):
without the uncertainty of x_0 in it, the spread of N(0, 1) loses .024 in 200 steps, where this step loses .004.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.pinned import Pinned


@dataclass(frozen=True)
class BridgeStep:
    """Weak order 1, one evaluation a step, of ``denoiser.belief``."""

    process: Any

    def __post_init__(self) -> None:
        if not isinstance(self.process, Pinned) or self.process.sigma == 0:
            raise UserError("a step of a bridge needs a bridge with noise, sigma above 0")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """One step of the SDE."""
        x_s = combine(s / t, x_t, 1 - s / t, denoise(x_t, t).mean)
        return (x_s if s == 0 else x_s.add_(noise.normal(x_s), alpha=self.process.sigma * math.sqrt(t - s))), None
