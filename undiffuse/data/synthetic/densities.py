"""Densities on the line: points to draw, and the exact logarithm of their density to hold a model to."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Bumps:
    """A mixture of Gaussians, p(x) = sum_k w_k N(x; m_k, s_k^2). The weights need not sum to one."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    def __call__(self, count: int, generator: Generator) -> Tensor:
        """``(count, 1)`` independent draws."""
        k = _which(self.weights, count, generator)
        z = torch.randn(count, generator=generator)
        return (torch.tensor(self.means)[k] + torch.tensor(self.stds)[k] * z)[:, None]

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, ``(count, 1) -> (count,)``, in the type of ``x``."""
        weights, means, stds = (x.new_tensor(values) for values in (self.weights, self.means, self.stds))
        log_bump = -0.5 * ((x - means) / stds) ** 2 - stds.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(log_bump + (weights / weights.sum()).log(), dim=1)


@dataclass(frozen=True)
class Boxes:
    """Disjoint intervals [low_k, high_k], each uniform and of probability w_k: hard edges, and gaps between."""

    weights: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]

    def __call__(self, count: int, generator: Generator) -> Tensor:
        """``(count, 1)`` independent draws."""
        k = _which(self.weights, count, generator)
        lows, highs = torch.tensor(self.lows)[k], torch.tensor(self.highs)[k]
        return (lows + (highs - lows) * torch.rand(count, generator=generator))[:, None]

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, ``(count, 1) -> (count,)``; minus infinity outside the boxes."""
        weights, lows, highs = (x.new_tensor(values) for values in (self.weights, self.lows, self.highs))
        height = weights / weights.sum() / (highs - lows)
        return torch.where((lows <= x) & (x <= highs), height, 0).sum(dim=1).log()


DENSITIES: dict[str, Bumps | Boxes] = {
    "two-bumps": Bumps(weights=(1, 1), means=(-1, 1), stds=(0.3, 0.3)),
    "three-bumps": Bumps(weights=(0.6, 0.3, 0.1), means=(-1.5, 0.5, 2.0), stds=(0.3, 0.5, 0.1)),
    # Marron and Wand 1992, table 1, number 10
    "claw": Bumps(weights=(0.5,) + 5 * (0.1,), means=(0, -1, -0.5, 0, 0.5, 1), stds=(1,) + 5 * (0.1,)),
    "uniform": Boxes(weights=(1,), lows=(-1,), highs=(1,)),
    "boxes": Boxes(weights=(0.75, 0.25), lows=(-1, 0.5), highs=(-0.5, 1.5)),
}


def _which(weights: tuple[float, ...], count: int, generator: Generator) -> Tensor:
    """``(count,)`` indices, each drawn in proportion to its weight."""
    return torch.tensor(weights, dtype=torch.float32).multinomial(count, replacement=True, generator=generator)
