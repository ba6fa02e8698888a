"""Adams-Bashforth: remember the last slopes, and follow the polynomial through them.

In y = x/alpha and rho = sigma/alpha the flow's slope is the denoiser's z alone, dy/d rho = z, so

    y_s = y_t + integral of z d rho from rho_t to rho_s,

with z drawn as a polynomial through what it was, over uneven steps. In which variable it is a polynomial is a choice:
in rho this is the textbook's method; in t it is DEIS (see `deis`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.denoiser import Denoise
from undiffuse.linear import combine
from undiffuse.noise import Noise
from undiffuse.predict import to_eps
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule
from undiffuse.step.ddim import toward
from undiffuse.step.interpolate import MASSES, POINTS, Past, blend, remember, require_order, weights

Variable = Callable[[Schedule, Tensor], Tensor]  # as a function of log-SNR, monotone


def in_rho(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """sigma/alpha."""
    return (-0.5 * log_snr).exp()


def in_log_rho(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """Log sigma/alpha: where diffusers' DEIS draws its polynomial."""
    return -0.5 * log_snr


def in_time(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """The schedule's t."""
    return schedule.time(log_snr)


@dataclass(frozen=True)
class AdamsBashforth:
    """Order ``order``, one evaluation a step. From alpha = 0, where rho is infinite, DDIM's step."""

    process: Affine
    order: int = 2
    variable: Variable = in_rho

    def __post_init__(self) -> None:
        require_order(self.order, 4)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Past | None, noise: Noise
    ) -> tuple[Tensor, Past]:
        """x_s = alpha_s/alpha_t x_t + alpha_s sum w_i z_i. Memory is the z_i, and where."""
        schedule = self.process.schedule
        now, then = schedule.at(t), schedule.at(s)
        x_0 = denoise(x_t, t)
        if now.alpha == 0:
            return toward(schedule, x_t, x_0, t, s, 0.0, noise), ()
        rho, rho_s = now.sigma / now.alpha, then.sigma / then.alpha
        # The step's interior, and where it starts, in the polynomial's variable.
        rhos = torch.tensor([rho + (rho_s - rho) * u for u in POINTS] + [rho], dtype=torch.float64)
        *points, at = self.variable(schedule, -2 * rhos.log()).tolist()
        past = remember(memory or (), at, to_eps(schedule, x_t, x_0, t), self.order)
        factors = weights([said.at for said in past], points, [then.alpha * (rho_s - rho) * m for m in MASSES])
        return combine(then.alpha / now.alpha, x_t, 1.0, blend(factors, past)), past
