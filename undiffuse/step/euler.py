"""Euler: follow the probability flow's velocity for a while, straight on.

Along the flow dx = x_0 d alpha + z d sigma (Song et al. 2021, eq. 13; Lipman et al. 2023), with x_0 and z as the
denoiser sees them now. How fast (alpha, sigma) moves along its curve is a choice of clock. Where a schedule loses the
last of the data its slope in t is nearly infinite, and a straight step in t would go anywhere. So only the direction of
the curve counts here, and a step is as long as the chord of the curve that it stands for:

    x_s = x_t - l (alpha', sigma')/|(alpha', sigma')| . (x_0, z),        l = |(alpha_t - alpha_s, sigma_t - sigma_s)|.

Where the curve is straight (flows, VE, EDM) this *is* DDIM, which knows the chord's own direction too.
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
    """Order 1, one evaluation a step. To the data, and where the curve has no direction in t, the step is DDIM's."""

    process: Affine

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """Along the tangent of (alpha, sigma) at t, in x_t and x_0: z = (x_t - alpha x_0)/sigma."""
        schedule = self.process.schedule
        now, then = schedule.at(t), schedule.at(s)
        d_alpha, d_sigma = schedule.rate(t)
        x_0, speed = denoise(x_t, t), math.hypot(d_alpha, d_sigma)
        if then.sigma == 0 or not 0 < speed < math.inf:
            return toward(schedule, x_t, x_0, t, s, 0.0, noise), None
        length = math.hypot(now.alpha - then.alpha, now.sigma - then.sigma) / speed
        growth = d_sigma / now.sigma
        return combine(1 - length * growth, x_t, -length * (d_alpha - now.alpha * growth), x_0), None
