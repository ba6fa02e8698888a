"""Euler: follow the probability flow's velocity for a while, straight on.

dx/dt = alpha' x_0 + sigma' z (Song et al. 2021, eq. 13; Lipman et al. 2023), so

    x_s = x_t + (s - t) dx/dt.

Time is the schedule's own here, which is why this is worse than DDIM but for straight schedules, where it *is* DDIM:
along a straight line time does not matter, and elsewhere DDIM knows the curve of alpha and sigma.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.step.ddim import toward


@dataclass(frozen=True)
class Euler:
    """Order 1, one evaluation a step.

    The step to the data is DDIM's: sigma may rise with infinite slope there (VP's does), and noise would be left over.
    """

    process: Affine

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s = (1 - h sigma'/sigma) x_t - h (alpha' - alpha sigma'/sigma) x_0, h = t - s."""
        schedule = self.process.schedule
        x_0 = denoise(x_t, t)
        alpha, sigma, _ = schedule.at(t)
        d_alpha, d_sigma = schedule.rate(t)
        if schedule.at(s).sigma == 0 or not math.isfinite(d_alpha + d_sigma):
            return toward(schedule, x_t, x_0, t, s, 0.0, noise), None
        growth = d_sigma / sigma
        return combine(1 - (t - s) * growth, x_t, -(t - s) * (d_alpha - alpha * growth), x_0), None
