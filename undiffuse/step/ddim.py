"""DDIM: move along the line from x_t to the denoiser's x_0 (Song, Meng and Ermon 2021).

x_t = alpha_t x_0 + sigma_t z with the same x_0 and z at every time. An estimate of x_0 gives z, and both give x_s:

    x_s = alpha_s x_0 + sqrt(sigma_s^2 - n^2) z + n w,    n = eta sqrt(beta-tilde),  w fresh noise        (eq. 12)

Eta = 0 is deterministic, the first-order exponential integrator of the probability flow; eta = 1 is DDPM with
beta-tilde. Better solvers (Heun, DPM-Solver++, UniPC) take the same step `toward` a better x_0.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule


def toward(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: float, s: float, eta: float, noise: Noise) -> Tensor:
    """x_s = r x_t + (alpha_s - r alpha_t) x_0 + n w with r = sqrt(sigma_s^2 - n^2)/sigma_t: a new tensor.

    Nothing here is infinite where alpha_t = 0 (flows, zero-terminal SNR) or sigma_s = 0 (the data: x_s = x_0).
    """
    now, then = schedule.at(t), schedule.at(s)
    n = eta * then.sigma * math.sqrt(-math.expm1(now.log_snr - then.log_snr))
    r = math.sqrt(then.sigma**2 - n**2) / now.sigma
    x_s = combine(r, x_t, then.alpha - r * now.alpha, x_0)
    return x_s.add_(noise.normal(x_s), alpha=n) if n > 0 else x_s


@dataclass(frozen=True)
class DDIM:
    """Order 1, one evaluation a step."""

    process: Affine
    eta: float = 0.0

    def __post_init__(self) -> None:
        require_eta(self.process, self.eta)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s on the line from x_t toward the denoiser's x_0."""
        return toward(self.process.schedule, x_t, denoise(x_t, t), t, s, self.eta, noise), None


def require_eta(process: Affine, eta: float) -> None:
    """Raises `UserError` unless eta lies in [0, 1], and if it adds noise where no step can."""
    if not 0 <= eta <= 1:
        raise UserError(f"eta must lie in [0, 1] (0 deterministic, 1 as much fresh noise as DDPM), not {eta}")
    if eta > 0:
        process.require_fresh_noise()
