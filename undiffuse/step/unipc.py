"""UniPC: a multistep predictor with a corrector that costs no evaluation (Zhao et al. 2023).

The next step evaluates the denoiser at the predicted point anyway. This adds a node to the polynomial of x_0 over the
step just made, which is then repeated with it (UniC) before the next is predicted (UniP): Adams-Bashforth and
Adams-Moulton in lambda = log(alpha/sigma). The paper's linear systems (eq. 9) are the integrals of that polynomial. Its
B(h) matters only if there are two nodes, as their mean place on a line (`interpolate.mean_of_x0`): 1/2 for
B2(h) = e^h - 1, and h/(2 (1 - e^-h)) for B1(h) = h.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.step.ddim import toward
from undiffuse.step.interpolate import Past, mean_of_x0, remember, require_order


class Before(NamedTuple):
    """The start of the last step."""

    x: Tensor  # corrected, (batch, *shape)
    t: float
    past: Past  # the nodes there and before


@dataclass(frozen=True)
class UniPC:
    """A predictor of order ``order``, corrected to one more; one evaluation a step. ``b`` chooses the paper's B, 1 or
    2.

    Started without memory, the first step is corrected to order 2 only, so order 4 becomes order 3.
    """

    process: Affine
    order: int = 3
    b: int = 2

    def __post_init__(self) -> None:
        require_order(self.order, 3)
        if self.b not in (1, 2):
            raise UserError(f"UniPC's b must be 1 or 2 (B1(h) = h, B2(h) = e^h - 1), not {self.b!r}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Before | None, noise: Noise
    ) -> tuple[Tensor, Before]:
        """Correct x_t, then predict x_s."""
        schedule = self.process.schedule
        now, stop = 0.5 * schedule.at(t).log_snr, 0.5 * schedule.at(s).log_snr
        x_0 = denoise(x_t, t)
        past: Past = ()
        if memory is not None and memory.past and math.isfinite(stop):  # a step to the data does not depend on x_t
            past = memory.past
            start = past[0].at
            seen = mean_of_x0(remember(past, now, x_0, self.order + 1), start, now, self._middle(now - start))
            x_t = toward(schedule, memory.x, seen, memory.t, t, 0.0, noise)
        past = remember(past, now, x_0, self.order)
        ahead = mean_of_x0(past, now, stop, self._middle(stop - now)) if past else x_0
        return toward(schedule, x_t, ahead, t, s, 0.0, noise), Before(x_t, t, past)

    def _middle(self, h: float) -> float:
        return 0.5 if self.b == 2 or math.isinf(h) else 0.5 * h / -math.expm1(-h)
