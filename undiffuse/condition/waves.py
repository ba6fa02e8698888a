"""Sinusoidal embeddings of a number: of the noise level, and of numeric conditions.

A network hardly distinguishes nearby values of a single number. So the number becomes sines and cosines of many
frequencies f, each in [-1, 1]:

    features(v) = [sin(f_1 v) ... sin(f_n v), cos(f_1 v) ... cos(f_n v)]

The slow waves give the rough place of v, the fast ones the exact place.
"""

import math

import torch
from torch import Tensor, nn

from undiffuse.core.errors import UserError


class Sinusoidal(nn.Module):
    """Waves of log-SNR with periods in geometric progression, from ``longest`` down to ``shortest`` (in nats).

    Log-SNR is about in [-20, 20]. The longest wave, of period 80, passes through half a period there: its sine strictly
    increases, so no two levels have the same features. The shortest, of period 1, distinguishes levels that differ by a
    few hundredths. (Transformers and DDPM embed the steps 0...1000 instead, with periods 2 pi ... 20000 pi.)

    After Vaswani et al. 2017, section 3.5.
    """

    frequencies: Tensor  # (width / 2,), radians per nat

    def __init__(self, width: int, longest: float = 80.0, shortest: float = 1.0) -> None:
        super().__init__()
        periods = torch.logspace(math.log2(longest), math.log2(shortest), _half(width), base=2)
        self.register_buffer("frequencies", 2 * math.pi / periods)

    def forward(self, log_snr: Tensor) -> Tensor:
        """(...) -> (..., width)."""
        return _waves(log_snr[..., None] * self.frequencies)


class GaussianFourier(nn.Module):
    """Waves of log-SNR with random frequencies f ~ N(0, bandwidth²), in radians per nat, drawn once and stored.

    Its kernel, E[features(v) . features(w)] ∝ exp(-bandwidth² (v - w)² / 2), depends only on the distance of the
    levels: at about ``1 / bandwidth`` nats two levels begin to differ. Song et al. 2021 (score SDE)
    use ``2 pi * 16`` on ln sigma, which is ``16 pi`` here; over 40 nats 1 is ample and much smoother.

    Tancik et al. 2020, equation 5, in one dimension.
    """

    frequencies: Tensor  # (width / 2,), radians per nat

    def __init__(self, width: int, bandwidth: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", bandwidth * torch.randn(_half(width)))

    def forward(self, log_snr: Tensor) -> Tensor:
        """(...) -> (..., width)."""
        return _waves(log_snr[..., None] * self.frequencies)


def sinusoidal_table(steps: int, width: int, base: float = 10000.0) -> Tensor:
    """The embedding of the discrete times 0 ... steps - 1 as one table, (steps, width).

    Row i is [sin(i f), cos(i f)] with f = base^(-k / (width / 2)), k = 0 ... width / 2 - 1: the position embedding of
    Vaswani et al. 2017, section 3.5, as DDPM uses it. Nothing in it is learned. Here networks are given log-SNR
    instead, so that the grid can be changed after training; this table is for comparison.
    """
    frequencies = base ** (-torch.arange(_half(width)) / _half(width))
    return _waves(torch.arange(steps)[:, None] * frequencies)


def _half(width: int) -> int:
    if width < 2 or width % 2:
        raise UserError(f"an embedding has a sine and a cosine for each frequency: its width must be even, not {width}")
    return width // 2


def _waves(angles: Tensor) -> Tensor:
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
