"""Network + process + prediction = denoiser, a function with one meaning: E[x_0 | x_t].

Every sampler, guidance and likelihood builds on `denoise(x_t, t)`, and never sees what the network was trained to say.
A network is given the noise level as log-SNR, not as t, so that schedule and grid may change after training. The
denoiser's encoder turns the noise level and the conditions into the routes that the network takes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Routes, level_alone
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, moved, scale
from undiffuse.denoiser.prediction import Prediction, to_x0
from undiffuse.process.affine import Affine, Belief

# denoise(x_t, t) -> E[x_0 | x_t], or whatever belief about x_0 the process understands
Denoise = Callable[[Tensor, float], Any]


def with_variance(denoise: Denoise, v: float) -> Denoise:
    """The same mean, with a fixed step variance: v = 0 is beta-tilde, 1 is beta (DDPM's "fixed small" and "large")."""
    return lambda x_t, t: Belief(denoise(x_t, t), v)


LOG_SNR_RANGE = (-20.0, 20.0)  # what networks are given; beyond it no level differs from the next

# encoder(log_snr, conditions) -> Routes; see `undiffuse.condition.encoder`
Encode = Callable[[Tensor, Conditions | None], Routes]


class Output(NamedTuple):
    """What the network predicts."""

    y: Tensor  # the prediction, (batch, *shape)
    v: Tensor | None  # where log-variance lies between its bounds, in [0, 1], if the network learns it


class Denoiser(nn.Module):
    """denoiser(x_t, t, conditions) -> E[x_0 | x_t, conditions], from a network that predicts y = a x_0 + b z.

    Args:
        net: net(x, routes) -> y; x (batch, *shape) of about unit variance.
        process: what destroyed the data.
        prediction: the (a, b) of y.
        learned_variance: the network returns twice the channels, (batch, 2 channels, ...); the second half is v of
            improved DDPM (`Belief.v`), which `belief` reports.
        encoder: What makes routes of the noise level and the conditions.
    """

    jumps: tuple[str, ...] = ()  # see `denoiser.flow_map`

    def __init__(
        self,
        net: nn.Module,
        process: Affine,
        prediction: Prediction,
        learned_variance: bool = False,
        encoder: Encode = level_alone,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.net, self.process, self.prediction = net, process, prediction
        self.learned_variance = learned_variance

    def forward(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """E[x_0 | x_t] at time t, a number or (batch,): (batch, *shape)."""
        y = self.output(x_t, t, conditions).y
        return to_x0(self.prediction, self.process.schedule, x_t, y, t)

    def belief(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Belief:
        """The mean of x_0 and, if it is learned, the variance of a step back."""
        y, v = self.output(x_t, t, conditions)
        mean = to_x0(self.prediction, self.process.schedule, x_t, y, t)
        return Belief(mean) if v is None else Belief(mean, v)

    def require_mean_alone(self, what: str) -> None:
        """Raises UserError, saying that ``what`` trains no variance, where one is learned."""
        if self.learned_variance:
            raise UserError(f"{what} trains no variance: choose --loss hybrid")

    def output(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Output:
        """The network's own prediction."""
        y = self.answer(x_t, t, conditions)
        if not self.learned_variance:
            return Output(y, None)
        y, v = y.chunk(2, dim=1)
        return Output(y, 0.5 * (v + 1))  # the network's zero is the middle

    def answer(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """All that the network says, (batch, channels or twice as many, ...)."""
        level = noise_level(self.process.schedule.at(t).log_snr, x_t.device, x_t.dtype)
        y: Tensor = self.net(scale(self.process.input_scale(t), x_t), self.encoder(level, conditions))
        return y


def noise_level(log_snr: Number, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Log-SNR as a network is given it: () for one time, (batch,) for one time for each sample."""
    low, high = LOG_SNR_RANGE
    if isinstance(log_snr, Tensor):
        return moved(log_snr, device, dtype).clamp(low, high)
    return torch.full((), min(max(log_snr, low), high), dtype=dtype, device=device)
