"""Inversion: the noise from which DDIM makes given data, found by taking its steps back, from the data to the noise.

DDIM's step from t down to s is x_s = F(x_t) = r x_t + (alpha_s - r alpha_t) D(x_t, t) with r = sigma_s/sigma_t and the
denoiser D (`undiffuse.step.ddim`). Taking it back asks for the x_t at which F is x_s. Two answers:

- *explicit* (Song et al. 2021, section 5.4; Dhariwal and Nichol 2021, appendix F): D does not change much in a step, so
  it is taken at (x_s, s), x_t = x_s/r + (alpha_t - alpha_s/r) D(x_s, s). One evaluation a step; what comes back differs
  by the discretisation error, of order 1. From the data itself, s = 0, there is no noise to extrapolate: x_t = alpha_t
  x_0, whose error is of order sigma_t^2.
- *refined*: iterate x_t <- x_t + (x_s - F(x_t))/b, one evaluation each. The slope of F is r + (alpha_s - r alpha_t)
  alpha_t C/sigma_t^2 with the covariance C of x_0 given x_t: r at least (C = 0) and, for Gaussian data of variance l,
  r + (alpha_s - r alpha_t) alpha_t l/(alpha_t^2 l + sigma_t^2). Let b be that slope for l = 100, more than data has.
  Then the error falls by 1 - r/b or faster, so the data come back as exactly as wished; it still falls where C is
  almost twice as wide. Between two modes C is wider, and nothing is promised.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from undiffuse.core.linear import combine
from undiffuse.process.schedule import Point, Schedule

WIDEST = 100.0  # the greatest variance of standardised data along an axis


@torch.no_grad()
def inverted(
    schedule: Schedule,
    denoise: Callable[[Tensor, float], Tensor],
    x_0: Tensor,
    times: Sequence[float],
    refine: int = 0,
) -> Tensor:
    """The state at times[0] from which DDIM along ``times``, which end at 0, makes x_0 (batch, *shape).

    ``refine`` iterations improve every step.
    """
    x = x_0
    for s, t in pairwise(reversed(times)):
        now, then = schedule.at(s), schedule.at(t)
        target, x = x, _extrapolated(denoise, x, s, now, then)
        r = now.sigma / then.sigma
        toward = now.alpha - r * then.alpha
        steepest = r + toward * then.alpha * WIDEST / (then.alpha**2 * WIDEST + then.sigma**2)
        for _ in range(refine):
            x = x + (target - combine(r, x, toward, denoise(x, t))) / steepest
    return x


def _extrapolated(denoise: Callable[[Tensor, float], Tensor], x: Tensor, s: float, now: Point, then: Point) -> Tensor:
    """x_t, as if x_0 and z stayed what they are at x_s."""
    if now.sigma == 0:
        return then.alpha / now.alpha * x
    r = then.sigma / now.sigma
    return combine(r, x, then.alpha - r * now.alpha, denoise(x, s))
