"""Adams-Bashforth: extrapolate the last slopes of the probability flow by a polynomial.

In y = x/alpha and rho = sigma/alpha the slope of the flow is the denoiser's z, dy/d rho = z, so

    y_s = y_t + integral of z d rho from rho_t to rho_s,

with z replaced by the polynomial through its last values, over uneven steps. The polynomial's variable is a choice: in
rho this is the textbook method; in t it is DEIS (see `deis`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.denoiser.prediction import to_eps
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule
from undiffuse.step.ddim import toward
from undiffuse.step.interpolate import MASSES, POINTS, Origin, Recent, begin, blend, remember, require_order, steady

Variable = Callable[[Schedule, Tensor], Tensor]  # as a function of log-SNR, monotone


def in_rho(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """sigma/alpha."""
    return (-0.5 * log_snr).exp()


def in_log_rho(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """Log sigma/alpha: the variable of diffusers' DEIS."""
    return -0.5 * log_snr


def in_time(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """The schedule's t."""
    return schedule.time(log_snr)


@dataclass(frozen=True)
class AdamsBashforth:
    """Order ``order``, one evaluation a step. From alpha = 0, where rho is infinite, the step is DDIM's.

    Nodes that would have to be extrapolated too far are left out of the polynomial (`interpolate.steady`). Started
    without memory, orders 1 to 3 are reached, and order 4 becomes 3 (`interpolate`). Keep the state in float32: half
    precision's rounding of x_t is in z too and cancels there, except in the first steps, which start at an earlier x.
    """

    process: Affine
    order: int = 2
    variable: Variable = in_rho

    def __post_init__(self) -> None:
        require_order(self.order, 4)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Recent | None, noise: Noise
    ) -> tuple[Tensor, Recent | None]:
        """x_s = alpha_s/alpha_t x_t + alpha_s sum w_i z_i, w_i the i-th Lagrange polynomial integrated over rho."""
        schedule = self.process.schedule
        x_0 = denoise(x_t, t)
        if schedule.at(t).alpha == 0:
            return toward(schedule, x_t, x_0, t, s, 0.0, noise), None
        at = self.variable(schedule, torch.tensor(schedule.at(t).log_snr, dtype=torch.float64)).item()
        past = remember(memory.past if memory else (), at, to_eps(schedule, x_t, x_0, t), self.order)
        origin, recent = begin(memory, past, self.order, Origin(x_t, t))
        now, then = schedule.at(origin.t), schedule.at(s)
        rho, rho_s = now.sigma / now.alpha, then.sigma / then.alpha
        rhos = torch.tensor([rho + (rho_s - rho) * u for u in POINTS], dtype=torch.float64)
        points = self.variable(schedule, -2 * rhos.log()).tolist()
        factors = steady([node.at for node in past], points, [then.alpha * (rho_s - rho) * m for m in MASSES])
        return combine(then.alpha / now.alpha, origin.x, 1.0, blend(factors, past[: len(factors)])), recent
