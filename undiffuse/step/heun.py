"""Heun with churn: the mean of the slopes at both ends of an Euler step (Karras et al. 2022, algorithm 2).

In y = x/alpha and rho = sigma/alpha the flow is dy/d rho = (y - x_0)/rho. The trapezoid rule, with the end point y' of
an Euler (DDIM) step and the denoiser's x_0' there, is DDIM's step toward another x_0:

    y_s = y_t + (rho_s - rho_t)/2 ((y_t - x_0)/rho_t + (y' - x_0')/rho_s)
        = r y_t + (1 - r) (x_0 + (x_0' - x_0)/(2r)),        r = rho_s/rho_t.

Churn first adds fresh noise, from rho_t up to (1 + churn) rho_t. The denoiser is evaluated *after* this, at the higher
level; otherwise the step would remove noise that the denoiser has not seen.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.step.ddim import toward


@dataclass(frozen=True)
class Heun:
    """Order 2, two evaluations a step, but one from alpha = 0 and to the data, where one slope is infinite."""

    process: Affine
    churn: float = 0.0  # EDM's min(S_churn/steps, sqrt(2) - 1)
    churn_from: float = 0.0  # only at sigma/alpha within [churn_from, churn_to]: EDM's S_min,
    churn_to: float = math.inf  # S_max
    churn_std: float = 1.0  # of the fresh noise: EDM's S_noise

    def __post_init__(self) -> None:
        if not 0 <= self.churn <= 1:
            raise UserError(f"churn, the share by which a step raises sigma, must lie in [0, 1], not {self.churn}")
        if self.churn > 0:
            self.process.require_fresh_noise()

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s on the line toward x_0 + (x_0' - x_0)/(2r)."""
        schedule = self.process.schedule
        x_t, t = self._churned(x_t, t, noise)
        now, then = schedule.at(t), schedule.at(s)
        x_0 = denoise(x_t, t)
        x_s = toward(schedule, x_t, x_0, t, s, 0.0, noise)
        if now.alpha == 0 or then.sigma == 0:
            return x_s, None
        trust = 0.5 * math.exp(0.5 * (then.log_snr - now.log_snr))  # 1/(2r)
        return toward(schedule, x_t, x_0.lerp(denoise(x_s, s), trust), t, s, 0.0, noise), None

    def _churned(self, x_t: Tensor, t: float, noise: Noise) -> tuple[Tensor, float]:
        """X and its time after fresh noise, at most the schedule's end."""
        schedule = self.process.schedule
        now = schedule.at(t)
        if self.churn == 0 or now.alpha == 0 or not self.churn_from <= now.sigma / now.alpha <= self.churn_to:
            return x_t, t
        log_snr = torch.tensor(now.log_snr - 2 * math.log1p(self.churn), dtype=torch.float64)
        raised = max(float(schedule.time(log_snr)), t)
        after = schedule.at(raised)
        shrink = after.alpha / now.alpha
        fresh = self.churn_std * math.sqrt(max(after.sigma**2 - (shrink * now.sigma) ** 2, 0.0))
        return (x_t * shrink).add_(noise.normal(x_t), alpha=fresh), raised
