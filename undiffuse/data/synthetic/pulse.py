"""Pulses as a monitor shows them: a heart that beats slowly or fast, each beat five bumps.

A beat is the sum of the waves P, Q, R, S and T, each a normal curve in the beat's own phase, of a height that varies a
little from series to series (after McSharry et al. 2003, table 1, on the line instead of the circle). Series begin
anywhere in a beat, at a rate of their own; the label is whether that is slow or fast.
"""

import math

import torch
from torch import Tensor

from undiffuse.condition.label import labelled
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, check_split

WAVES = (  # centre in the beat's phase (0 ... 1, R at .5), height, width
    (0.31, 0.15, 0.035),
    (0.47, -0.14, 0.012),
    (0.50, 1.00, 0.014),
    (0.53, -0.22, 0.013),
    (0.74, 0.32, 0.055),
)
RATES = {"slow": (2.0, 3.0), "fast": (4.0, 5.5)}  # beats a series
NOISE = 0.01


def pulses(count: int, length: int, seed: int, split: str = "train") -> Dataset:
    """``count`` series (count, 1, length) float32; the test split is as many fresh ones.

    Raises UserError for fewer than 2, or too short ones.
    """
    check_split(split)
    if count < 2 or length < 32:
        raise UserError(f"pulses are at least 2, of at least 32 values each, not {count} of {length}")
    seeds = {"train": [2 * seed], "test": [2 * seed + 1], "all": [2 * seed, 2 * seed + 1]}[split]
    drawn = [_drawn(count, length, one) for one in seeds]
    x, labels = (torch.cat(part) for part in zip(*drawn, strict=True))
    return Dataset(x[:, None], *labelled(labels, tuple(RATES)), kind="series", name="pulse")


def _drawn(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> Tensor:
        return torch.rand(count, 1, generator=generator)

    labels = torch.randint(len(RATES), (count,), generator=generator)
    low, high = torch.tensor(list(RATES.values()))[labels].split(1, 1)
    beats = low + (high - low) * uniform()
    phase = (uniform() + beats * torch.arange(length) / length) % 1
    x = NOISE * torch.randn(count, length, generator=generator)
    for centre, height, width in WAVES:
        tall = height * (1 + 0.2 * (uniform() - 0.5))
        wide = width * math.sqrt(3) * (beats / 4)  # a wave lasts as long, however fast the beat
        away = (phase - centre + 0.5) % 1 - 0.5
        x += tall * torch.exp(-0.5 * (away / wide) ** 2)
    return x, labels
