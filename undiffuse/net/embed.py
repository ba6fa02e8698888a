"""What a network is told beside x: the noise level, as waves of log-SNR, and the label.

A network reads a single number badly: nearby levels look the same to it. So the number is drawn out into sines and
cosines of many frequencies f, each in [-1, 1]:

    features(v) = [sin(f_1 v) ... sin(f_n v), cos(f_1 v) ... cos(f_n v)]

The slow waves say roughly where v is, the fast ones where exactly.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undiffuse.condition.label import Classes
from undiffuse.core.errors import UserError


class Sinusoidal(nn.Module):
    """Waves of log-SNR with periods in geometric progression, from ``longest`` down to ``shortest`` (in nats).

    Log-SNR lives in about [-20, 20]. The longest wave, of period 80, passes through half a period there: its sine is
    strictly increasing, so no two levels look alike. The shortest, of period 1, tells levels apart that differ by a
    few hundredths. (Transformers and DDPM count steps 0...1000 instead, with periods 2 pi ... 20000 pi.)

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
    """Waves of log-SNR with random frequencies f ~ N(0, bandwidth²), in radians per nat, drawn once and kept.

    The kernel it gives, E[features(v) . features(w)] ∝ exp(-bandwidth² (v - w)² / 2), compares levels by their distance
    alone: ``1 / bandwidth`` is how many nats apart two levels begin to look different. Song et al. 2021 (score SDE)
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

    Row i is [sin(i f), cos(i f)] with f = base^(-k / (width / 2)), k = 0 ... width / 2 - 1: the positions of
    Vaswani et al. 2017, section 3.5, as DDPM uses them. Nothing in it is learned. Ours are told log-SNR instead, so
    that the grid can be changed after training; this is here to be compared with.
    """
    frequencies = base ** (-torch.arange(_half(width)) / _half(width))
    return _waves(torch.arange(steps)[:, None] * frequencies)


class LabelEmbedding(nn.Module):
    """A learned vector for each label 0 ... classes - 1, and one for -1, "no label".

    Of several attributes, ``classes`` (attributes,), the vectors are added, each attribute with a -1 of its own.
    """

    starts: Tensor  # (attributes,), where each attribute's rows begin in the table: at its "no label"

    def __init__(self, classes: Classes, width: int) -> None:
        super().__init__()
        self.classes = classes
        sizes = [count + 1 for count in ((classes,) if isinstance(classes, int) else classes)]
        self.table = nn.Embedding(sum(sizes), width)
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, label: Tensor | None) -> Tensor:
        """(batch,), or (batch, attributes), int64 -> (batch, width); None -> (1, width), which broadcasts.

        Raises UserError for a label outside [-1, classes), where looking is free: on the CPU.
        """
        if label is None:
            return self.table(self.starts).sum(0, keepdim=True)
        if label.device.type == "cpu" and not torch.compiler.is_compiling():
            self._check(label)
        if isinstance(self.classes, int):
            return self.table(label + 1)
        return self.table(label + 1 + self.starts).sum(1)

    def _check(self, label: Tensor) -> None:
        several = not isinstance(self.classes, int)
        if several and (label.ndim != 2 or label.shape[1] != len(self.starts)):
            raise UserError(
                f"labels of {len(self.starts)} attributes are (batch, {len(self.starts)}), not {tuple(label.shape)}"
            )
        counts = torch.tensor(self.classes)
        wrong = ((label < -1) | (label >= counts)).nonzero()
        if len(wrong):
            entry = tuple(wrong[0].tolist())
            most = int(counts[entry[1]] if several else counts) - 1
            raise UserError(f"label {int(label[entry])} is not known; labels go from 0 to {most}, and -1 is no label")


class Condition(nn.Module):
    """The noise level and the label as one vector: SiLU(W features(log_snr) + the sum of the attributes' vectors)."""

    def __init__(self, width: int, classes: Classes) -> None:
        super().__init__()
        self.level = nn.Sequential(Sinusoidal(width), nn.Linear(width, width))
        self.label = LabelEmbedding(classes, width) if classes else None

    def forward(self, log_snr: Tensor, label: Tensor | None) -> Tensor:
        """(batch,) or 0-d, and labels -> (batch, width), or (1, width) where the whole batch shares both.

        Raises UserError when a network without labels is given one.
        """
        level = self.level(log_snr.reshape(-1))
        if self.label is not None:
            return F.silu(level + self.label(label))
        if label is not None:
            raise UserError("this model was trained without labels; leave the label out, or train on labelled data")
        return F.silu(level)


def _half(width: int) -> int:
    if width < 2 or width % 2:
        raise UserError(f"an embedding has a sine and a cosine for each frequency: its width must be even, not {width}")
    return width // 2


def _waves(angles: Tensor) -> Tensor:
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
