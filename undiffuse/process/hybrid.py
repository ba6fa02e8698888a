"""Masks and random classes, in shares that change: GIDD's kernel (von Ruette et al. 2025).

For each token that is kept there are o masked ones and b sqrt(o) random ones, so that

    1/a = 1 + b sqrt(o) + o,          b = 2 uniform/(1 - uniform)

All tokens are masked in the end, as by masks alone, and on the way a share of random ones must be found and repaired.
With the paper's time, o = t/(1 - t): its mixture of 1 - t of the data, t of the mask, and B sqrt(t (1 - t)) of each
class, divided by their sum. At its t = 1/2 the share of random tokens is ``uniform``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.process.kernel import Survival, by_products, column

NOTHING_LEFT = 1e-30
TINY = 1e-300


@dataclass(frozen=True)
class HybridNoise:
    """Masks, and a share ``uniform`` of random classes in the middle."""

    uniform: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.uniform < 1:
            raise UserError(f"uniform is the share of random tokens in the middle, in [0, 1), not {self.uniform:g}")

    @property
    def extra(self) -> int:
        """The mask."""
        return 1

    def forward(self, probs: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, mask = (column(share, probs) for share in self._shares(s, t))
        classes, masked = probs.split([probs.shape[-1] - 1, 1], -1)
        total = classes.sum(-1, keepdim=True)
        return torch.cat([stay * classes + spread / classes.shape[-1] * total, masked + mask * total], -1)

    def backward(self, f: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, mask = (column(share, f) for share in self._shares(s, t))
        classes, masked = f.split([f.shape[-1] - 1, 1], -1)
        return torch.cat([stay * classes + spread * classes.mean(-1, keepdim=True) + mask * masked, masked], -1)

    log_bridge = by_products

    def _shares(self, s: Survival, t: Survival) -> tuple[Number, Number, Number]:
        """The shares of the tokens not masked at s that are kept, drawn anew, and masked by t.

        With r = sqrt(o), of a kept token 1 + b r are not masked: the rest of the difference of 1 + b r is drawn anew.
        """
        b, (r_s, r_t) = self._slope, (self._root(one) for one in (s, t))
        kept, unmasked = t.keep / s.keep, 1 + b * r_s
        masked = least(t.keep) * (r_t - r_s) * (r_t + r_s + b * r_t * r_s) / unmasked
        return kept, kept * b * (r_t - r_s) / unmasked, masked

    @property
    def _slope(self) -> float:
        return 2 * self.uniform / (1 - self.uniform)

    def _root(self, at: Survival) -> Number:
        """sqrt(o), from r^2 + b r = 1/a - 1."""
        b, lost = self._slope, at.lose / least(at.keep)
        under = b * b + 4 * lost
        return 2 * lost / (b + (under.sqrt() if isinstance(under, Tensor) else math.sqrt(under)) + TINY)


def least(keep: Number) -> Number:
    """A share that is not 0, so that what grows as its inverse is finite."""
    return keep.clamp_min(NOTHING_LEFT) if isinstance(keep, Tensor) else max(keep, NOTHING_LEFT)
