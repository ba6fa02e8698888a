"""Conditional scores: how noisy a condition y is, beside an x_t that it is the condition of.

    y_t = (y + r z)/sqrt(1 + r^2),    r = speed sigma/alpha

sigma/alpha is the noise level of x, so ``speed`` says how many times as fast y diffuses, on any schedule (Batzolis et
al. 2021, "Conditional image generation with score-based diffusion models", section 3):

    0          y itself: CDE. Exact for the exact denoiser: E[x_0 | x_t, y] is that of the posterior
    1          as noisy as x: CDiffE. x is drawn from p(x_t | y_t) at every t, which is not p(x_t | y)
    between    CMDE, whose error falls with the speed; if it is small, VS-CMDE at the end of its training

Their networks also predict y; what is drawn is x alone, and for x the minimum of the loss is the same without that, so
here only x is predicted. They draw z anew at every step. Here z is drawn once and belongs to the sample, as all noise
does, so that what a sampler integrates is one smooth field; y_t has the same distribution at every t. For Gaussian x
and y both are known in closed form, with what this costs (`tests/laws/test_conditional_scores.py`).

A condition that diffuses carries its noise with it: values (batch, 2 channels, ...) are y, then z.
"""

import math

import torch
from torch import Tensor

from undiffuse.condition.conditions import Entry
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise


def check_speed(speed: float) -> None:
    """Raises UserError for a speed that is negative or infinite."""
    if not 0 <= speed < math.inf:
        raise UserError(f"the speed with which a condition diffuses is at least 0, not {speed:g}")


def beside_zeros(y: Tensor, speed: float) -> Tensor:
    """Values y (batch, channels, ...) with room for their noise, if they diffuse."""
    return torch.cat([y, torch.zeros_like(y)], 1) if speed else y


def with_own_noise(entry: Entry, noise: Noise) -> Entry:
    """The values with fresh noise z beside them."""
    y, _ = entry.values.chunk(2, 1)
    return Entry(torch.cat([y, noise.normal(y)], 1), entry.present)


def at_level(entry: Entry, speed: float, log_snr: Tensor) -> Entry:
    """Y_t beside x_t of a log-SNR, () or (batch,)."""
    y, z = entry.values.chunk(2, 1)
    r = (speed * (-0.5 * log_snr).exp()).to(y.dtype).view(-1, *[1] * (y.ndim - 1))
    return Entry((y + r * z) / (1 + r.square()).sqrt(), entry.present)
