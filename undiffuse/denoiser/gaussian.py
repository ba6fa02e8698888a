"""Network + process + prediction = denoiser, a function with one meaning: E[x_0 | x_t].

Every sampler, guidance and likelihood builds on `denoise(x_t, t)`, and never sees what the network was trained to say.
A network is told the noise level as log-SNR, not as t, so that schedule and grid may change after training.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from undiffuse.core.linear import Number, moved, scale
from undiffuse.denoiser.prediction import Prediction, to_x0
from undiffuse.process.affine import Affine, Belief

# denoise(x_t, t) -> E[x_0 | x_t], or whatever belief about x_0 the process understands
Denoise = Callable[[Tensor, float], Any]


def with_variance(denoise: Denoise, v: float) -> Denoise:
    """The same mean, with a fixed step variance: v = 0 is beta-tilde, 1 is beta (DDPM's "fixed small" and "large")."""
    return lambda x_t, t: Belief(denoise(x_t, t), v)


LOG_SNR_RANGE = (-20.0, 20.0)  # what networks are told; beyond it there is nothing left to hear


class Output(NamedTuple):
    """What the network said."""

    y: Tensor  # the prediction, (batch, *shape)
    v: Tensor | None  # where log-variance lies between its bounds, in [0, 1], if the network learns it


class Denoiser(nn.Module):
    """denoiser(x_t, t, **condition) -> E[x_0 | x_t], from a network that predicts y = a x_0 + b z.

    Args:
        net: net(x, log_snr, **condition) -> y; x (batch, *shape) of about unit variance, log_snr (batch,) or ().
        process: what destroyed the data.
        prediction: the (a, b) of y.
        learned_variance: the network returns twice the channels, (batch, 2 channels, ...); the second half is v of
            improved DDPM (`Belief.v`), which `belief` reports.
    """

    def __init__(self, net: nn.Module, process: Affine, prediction: Prediction, learned_variance: bool = False) -> None:
        super().__init__()
        self.net, self.process, self.prediction = net, process, prediction
        self.learned_variance = learned_variance

    def forward(self, x_t: Tensor, t: Number, **condition: Tensor | None) -> Tensor:
        """E[x_0 | x_t] at time t, a number or (batch,): (batch, *shape)."""
        y = self.output(x_t, t, **condition).y
        return to_x0(self.prediction, self.process.schedule, x_t, y, t)

    def belief(self, x_t: Tensor, t: Number, **condition: Tensor | None) -> Belief:
        """The mean of x_0 and, if it is learned, how uncertain a step back should be."""
        y, v = self.output(x_t, t, **condition)
        mean = to_x0(self.prediction, self.process.schedule, x_t, y, t)
        return Belief(mean) if v is None else Belief(mean, v)

    def output(self, x_t: Tensor, t: Number, **condition: Tensor | None) -> Output:
        """What the network says, in its own terms."""
        level = told_level(self.process.schedule.at(t).log_snr, x_t.device, x_t.dtype)
        y = self.net(scale(self.process.input_scale(t), x_t), level, **condition)
        if not self.learned_variance:
            return Output(y, None)
        y, v = y.chunk(2, dim=1)
        return Output(y, 0.5 * (v + 1))  # the network's zero is the middle


def told_level(log_snr: Number, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Log-SNR as a network is told it: () for one time, (batch,) for one a sample."""
    low, high = LOG_SNR_RANGE
    if isinstance(log_snr, Tensor):
        return moved(log_snr, device, dtype).clamp(low, high)
    return torch.full((), min(max(log_snr, low), high), dtype=dtype, device=device)
