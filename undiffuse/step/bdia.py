"""BDIA: a step with an exact inverse, from two states to the next (Zhang et al. 2023, "Exact diffusion inversion via
bi-directional integration approximation", equation 20).

With F(x_t; t, s) DDIM's step from t to s, and the state x_u of the step before, u > t > s:

    x_s = F(x_t; t, s) + gamma (x_u - F(x_t; t, u))
    x_u = F(x_t; t, u) + (x_s - F(x_t; t, s))/gamma

The difference, between the state before and what DDIM takes for it, corrects the step. (It is taken in units of the
standard deviation of x at each time, which on a variance preserving schedule is 1.) Both F have the same denoiser's
answer D(x_t, t), so a step costs one evaluation and is taken back by the same one, with no iteration and no error but
rounding, which grows by 1/gamma a step. The price is that noise is two states. The first step is DDIM's, unless it is
begun with both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule

GAMMA = 0.96  # the paper's, of edits


class Earlier(NamedTuple):
    """The state of the step before."""

    x: Tensor  # (batch, *shape)
    t: float


@dataclass(frozen=True)
class BDIA:
    """One evaluation a step; ``gamma`` in (0, 1]."""

    process: Affine
    gamma: float = GAMMA

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise UserError(f"gamma, the share of the correction, is above 0 and at most 1, not {self.gamma}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Earlier | None, noise: Noise
    ) -> tuple[Tensor, Earlier]:
        """x_s, and x_t for the next step."""
        x_0, schedule = denoise(x_t, t), self.process.schedule
        x_s = _moved(schedule, x_t, x_0, t, s)
        if memory is not None:
            x_s = x_s + self._share(s, memory.t) * (memory.x - _moved(schedule, x_t, x_0, t, memory.t))
        return x_s, Earlier(x_t, t)

    def before(self, x_s: Tensor, s: float, now: Earlier, x_0: Tensor, u: float) -> Tensor:
        """x_u, from x_s, the state ``now`` between both, and what the denoiser says of it."""
        schedule, (x_t, t) = self.process.schedule, now
        missed = x_s - _moved(schedule, x_t, x_0, t, s)
        return _moved(schedule, x_t, x_0, t, u) + missed / self._share(s, u)

    def _share(self, s: float, u: float) -> float:
        """Gamma, in the units of x_s and x_u."""
        return self.gamma * float(self.process.input_scale(u)) / float(self.process.input_scale(s))


@torch.no_grad()
def taken_back(
    step: BDIA, denoise: Callable[[Tensor, float], Tensor], x_0: Tensor, times: Sequence[float]
) -> tuple[Tensor, Earlier]:
    """The states at times[1] and times[0] from which the step along ``times``, which end at 0, makes x_0.

    The state at times[-2], which x_0 alone does not tell, is what DDIM would come from: alpha x_0, as near the data
    there is no noise to go by. Raises UserError for fewer than two steps.
    """
    if len(times) < 3:
        raise UserError("one step, from noise to the data at once, cannot be taken back; give --steps 20 or more")
    backwards = times[::-1]
    later, x = x_0, step.process.schedule.at(backwards[1]).alpha * x_0
    for s, t, u in zip(backwards, backwards[1:], backwards[2:], strict=False):
        later, x = x, step.before(later, s, Earlier(x, t), denoise(x, t), u)
    return later, Earlier(x, times[0])


@dataclass(frozen=True)
class FromPair:
    """The step from two states on: ``before`` is the one that it does not start from."""

    step: BDIA
    before: Earlier

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Earlier | None, noise: Noise
    ) -> tuple[Tensor, Earlier]:
        """See `BDIA`."""
        return self.step(denoise, x_t, t, s, memory or self.before, noise)


def _moved(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: float, s: float) -> Tensor:
    """DDIM's step, in either direction: s may be later than t."""
    now, then = schedule.at(t), schedule.at(s)
    r = then.sigma / now.sigma
    return combine(r, x_t, then.alpha - r * now.alpha, x_0)
