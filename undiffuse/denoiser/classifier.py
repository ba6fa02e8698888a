"""A classifier of noisy data: which of a condition's names does a noisy sample have?

    classifier(x_t, t) -> {"digit": log p_t(digit | x_t), ...}, for every condition that is one of several names

Any network can classify: its output is averaged over the pixels, and one linear layer reads the average. The result is
scaled by alpha, the share of the data that is left (in a process of unit variance). The reason: for two Gaussians the
log-odds are alpha times a bounded function, and guidance moves the denoiser by sigma^2/alpha times their gradient, so
without this factor any error would grow without bound.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Encoder
from undiffuse.core.linear import Number, scale
from undiffuse.denoiser.gaussian import noise_level
from undiffuse.process.affine import Affine

FEATURES = 64  # at least, that the classes are read from


class ConditionClassifier(nn.Module):
    """Log-probabilities of every condition's names, given x_t (batch, *shape).

    Args:
        net: net(x, routes) -> features (batch, ``features``, ...); see `multiple`.
        features: How many.
        classes: How many names each condition has.
        process: What destroyed the data.
        encoder: Of the noise level alone.
    """

    learned_variance = False  # of a step; see `denoiser.gaussian`
    jumps: tuple[str, ...] = ()  # see `denoiser.flow_map`

    def __init__(
        self, net: nn.Module, features: int, classes: dict[str, int], process: Affine, encoder: Encoder
    ) -> None:
        super().__init__()
        self.encoder, self.net = encoder, net
        self.read = nn.Linear(features, sum(classes.values()))
        self.classes, self.process = classes, process

    def forward(self, x_t: Tensor, t: Number) -> dict[str, Tensor]:
        """At time t, a number or (batch,): (batch, classes) of each condition."""
        log_snr = noise_level(self.process.schedule.at(t).log_snr, x_t.device, x_t.dtype)
        seen = F.silu(self.net(scale(self.process.input_scale(t), x_t), self.encoder(log_snr)))
        features = seen.flatten(2).mean(2) if seen.ndim > 2 else seen
        left = log_snr.sigmoid().sqrt().reshape(-1, 1)
        odds = self.read(left * features)
        parts = odds.split(list(self.classes.values()), dim=1)
        return {name: part.float().log_softmax(1) for name, part in zip(self.classes, parts, strict=True)}

    def log_prob(self, x_t: Tensor, t: Number, conditions: Conditions) -> Tensor:
        """log p_t(conditions | x_t), (batch,), summed over those that are present; differentiable in x_t."""
        total = x_t.new_zeros(len(x_t), dtype=torch.float32)
        for name, every in self(x_t, t).items():
            values, present = conditions.entries[name]
            total = total + every.gather(1, values.masked_fill(~present, 0)[:, None])[:, 0] * present
        return total


def multiple(channels: int) -> int:
    """How many times the channels of the data a classifier's network has at its end: `FEATURES` at least."""
    return math.ceil(FEATURES / channels)
