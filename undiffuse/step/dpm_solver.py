"""DPM-Solver++: exact except for x_0, which is approximated by a polynomial in lambda = log(alpha/sigma).

Variation of constants turns the probability flow (and the reverse SDE) into DDIM's step toward a *mean* of x_0 along
the step (`interpolate.mean_of_x0`; Lu et al. 2022, DPM-Solver++, eq. 9). Singlestep (2S) evaluates x_0 at the middle;
multistep (2M, 3M) uses the last evaluations.

With a constant x_0 it is DDIM. 2M is algorithm 2, and with eta = 1 SDE-DPM-Solver++(2M). 3M integrates exactly the
parabola through the last three evaluations (the published code lacks a factor of two in its second derivative, and has
order 2). The first two steps of 3M both start at the first point, so it has order 3 from the start (`interpolate`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.step.ddim import require_eta, toward
from undiffuse.step.interpolate import Origin, Recent, begin, mean_of_x0, remember, require_order


@dataclass(frozen=True)
class DPMSolverSinglestep:
    """2S, order 2: two evaluations a step, but one from alpha = 0 and to the data, where lambda is infinite.

    With the middle at r = 1/2 (eq. 10), the mean of x_0 is the denoiser's x_0 at the middle.
    """

    process: Affine

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s on the line toward the x_0 of the middle."""
        schedule = self.process.schedule
        now, then = schedule.at(t), schedule.at(s)
        x_0 = denoise(x_t, t)
        if now.alpha > 0 and then.sigma > 0:
            half_way = float(schedule.time(torch.tensor(0.5 * (now.log_snr + then.log_snr), dtype=torch.float64)))
            x_0 = denoise(toward(schedule, x_t, x_0, t, half_way, 0.0, noise), half_way)
        return toward(schedule, x_t, x_0, t, s, 0.0, noise), None


@dataclass(frozen=True)
class DPMSolverMultistep:
    """2M and 3M, order ``order``: one evaluation a step. With eta > 0 it adds fresh noise (2M SDE at eta = 1)."""

    process: Affine
    order: int = 2
    eta: float = 0.0

    def __post_init__(self) -> None:
        require_order(self.order, 3)
        require_eta(self.process, self.eta)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Recent | None, noise: Noise
    ) -> tuple[Tensor, Recent]:
        """x_s on the line toward the mean of x_0. Memory is the denoiser's last outputs and their lambdas."""
        schedule = self.process.schedule
        x_0 = denoise(x_t, t)
        past = remember(memory.past if memory else (), 0.5 * schedule.at(t).log_snr, x_0, self.order)
        # With fresh noise no step is repeated from the first point.
        origin, recent = begin(memory, past, self.order if self.eta == 0 else 1, Origin(x_t, t))
        start, stop = 0.5 * schedule.at(origin.t).log_snr, 0.5 * schedule.at(s).log_snr
        x_0 = mean_of_x0(past, start, stop, rate=1 + self.eta**2) if past else x_0
        return toward(schedule, origin.x, x_0, origin.t, s, self.eta, noise), recent
