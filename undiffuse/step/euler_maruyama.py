"""Euler-Maruyama: straight steps of the reverse-time SDE with fresh noise (Song et al. 2021, eq. 6).

Forward, dx = f x dt + g dw with f = alpha'/alpha and g^2 = k sigma^2, k = -d log_snr/dt = 2 (sigma'/sigma - f).
Backward, with the score (alpha x_0 - x)/sigma^2,

    x_s = x_t - h (f x_t - g^2 score) + g sqrt(h) w
        = (1 - h (f + k)) x_t + h k alpha x_0 + sigma sqrt(h k) w,        h = t - s.

The rate k is nearly infinite near pure noise. A step with h k >= 1 would remove more noise than there is, and with
h k > 2 it diverges. There the step holds only x_0 constant and solves the rest exactly, which is DDPM's step.
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
class EulerMaruyama:
    """Weak order 1, one evaluation a step. To the data and where h k >= 1, as at alpha = 0, the step is DDPM's."""

    process: Affine

    def __post_init__(self) -> None:
        self.process.require_fresh_noise()

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """One step of the SDE."""
        schedule, h = self.process.schedule, t - s
        alpha, sigma, _ = schedule.at(t)
        d_alpha, d_sigma = schedule.rate(t)
        x_0 = denoise(x_t, t)
        f = d_alpha / alpha if alpha > 0 else -math.inf
        k = 2 * (d_sigma / sigma - f)
        if schedule.at(s).sigma == 0 or not h * k < 1:
            return toward(schedule, x_t, x_0, t, s, 1.0, noise), None
        x_s = combine(1 - h * (f + k), x_t, h * k * alpha, x_0)
        return x_s.add_(noise.normal(x_s), alpha=sigma * math.sqrt(h * k)), None
