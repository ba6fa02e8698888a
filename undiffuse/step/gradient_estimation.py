"""Gradient estimation: denoising is gradient descent on the distance to the data; this adds momentum.

In y = x/alpha and rho = sigma/alpha, y - rho z is the denoiser's estimate of the data, so rho z estimates the gradient
of half the squared distance to the data. The true z changes little from step to step, its error more. So Permenter and
Yuan 2024, algorithm 2, extrapolate it:

    z-bar = gamma z_t + (1 - gamma) z_before,        y_s = y_t - (rho_t - rho') z-bar + sqrt(rho_s^2 - rho'^2) w,

with rho' = (rho_s/rho_t^mu)^(1/(1 - mu)), 0 <= mu < 1: the step goes below rho_s, to rho', and fresh noise w brings
it back. This is DDIM for (gamma, mu) = (1, 0), DDPM with beta-tilde for (1, 1/2), where rho' = rho_s^2/rho_t, and the
paper's sampler for (2, 0).
"""

import math
from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.denoiser.prediction import to_eps
from undiffuse.process.affine import Affine


@dataclass(frozen=True)
class GradientEstimation:
    """One evaluation a step. Memory is the z of the last step."""

    process: Affine
    gamma: float = 2.0
    mu: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mu < 1:
            raise UserError(f"mu must lie in [0, 1) (0 deterministic, 1/2 DDPM), not {self.mu}")
        if self.mu > 0:
            self.process.require_fresh_noise()
        if not math.isfinite(self.gamma):
            raise UserError(f"gamma must be a number (1 no momentum, 2 the paper's), not {self.gamma}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """The update above, times alpha_s. Memory is z_t."""
        schedule = self.process.schedule
        now, then = schedule.at(t), schedule.at(s)
        x_0 = denoise(x_t, t)
        z = to_eps(schedule, x_t, x_0, t)
        # sigma' = alpha_s rho'; (rho_s/rho_t) is 0 where alpha_t or sigma_s is.
        reached = then.sigma * math.exp(0.5 * (now.log_snr - then.log_snr)) ** (self.mu / (1 - self.mu))
        if now.alpha == 0:  # only the first step starts at alpha = 0: there is no earlier z
            x_s = combine(then.alpha, x_0, reached, z)
        else:
            move = reached - then.alpha * now.sigma / now.alpha
            x_s = combine(then.alpha / now.alpha, x_t, move if memory is None else self.gamma * move, z)
            if memory is not None and self.gamma != 1:
                x_s.add_(memory, alpha=(1 - self.gamma) * move)
        fresh = math.sqrt(then.sigma**2 - reached**2)
        return (x_s.add_(noise.normal(x_s), alpha=fresh) if fresh > 0 else x_s), z
