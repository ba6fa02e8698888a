"""Euler: a straight step along the velocity of the probability flow.

Along the flow dx = x_0 d alpha + z d sigma (Song et al. 2021, eq. 13; Lipman et al. 2023), with the denoiser's x_0 and
z at x_t. How fast (alpha, sigma) moves along its curve depends on the parametrisation by t; near pure noise its
derivative can be nearly infinite, and a straight step in t would be arbitrarily wrong. So the step uses only the
direction of the curve's tangent, and the length of its chord from t to s:

    x_s = x_t - l (alpha', sigma')/|(alpha', sigma')| . (x_0, z),        l = |(alpha_t - alpha_s, sigma_t - sigma_s)|.

If the curve is straight (flows, VE, EDM) this *is* DDIM, which also uses the chord's direction.
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
    """Order 1, one evaluation a step. To the data, and where the tangent is zero or infinite, the step is DDIM's."""

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
