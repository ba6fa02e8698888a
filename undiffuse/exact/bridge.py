"""The bridge between two Gaussians in closed form, whatever their covariance; and which one is Schroedinger's.

With x_0 ~ N(m_0, s_0^2), x_1 ~ N(m_1, s_1^2) and covariance c, entry by entry, x_t is normal with

    mean (1 - t) m_0 + t m_1,    variance (1 - t)^2 s_0^2 + t^2 s_1^2 + 2 t (1 - t) c + sigma^2 t (1 - t),

and E[x_0 | x_t], E[x_1 | x_t] are linear in x_t.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.linear import Number, expand
from undiffuse.denoiser.bridge import BridgeDenoiser, Ends
from undiffuse.process.pinned import Pinned, way

TINY = 1e-150  # a way of length 0 has no direction


@dataclass(frozen=True)
class TwoGaussians:
    """N(m_0, s_0^2) and N(m_1, s_1^2), entry by entry, with covariance ``c`` between them."""

    m_0: float = 0.0
    s_0: float = 1.0
    m_1: float = 0.0
    s_1: float = 1.0
    c: float = 0.0


def schroedinger(m_0: float, s_0: float, m_1: float, s_1: float, sigma: float) -> TwoGaussians:
    """The Schroedinger bridge's ends, of a Brownian motion of this sigma: c = 1/2 (sqrt(4 s_0^2 s_1^2 + sigma^4) -
    sigma^2) (Bunne et al. 2023, theorem 3; sigma -> 0 is optimal transport's s_0 s_1)."""
    return TwoGaussians(m_0, s_0, m_1, s_1, 0.5 * (math.sqrt(4 * s_0**2 * s_1**2 + sigma**4) - sigma**2))


class GaussianBridge(BridgeDenoiser):
    """The exact denoiser of a bridge between two Gaussians."""

    def __init__(self, process: Pinned, ends: TwoGaussians) -> None:
        super().__init__(torch.nn.Identity(), process)
        self.of = ends

    def variance(self, t: Number) -> Number:
        """Of x_t."""
        of = self.of
        both = ((1 - t) * of.s_0) ** 2 + (t * of.s_1) ** 2 + 2 * t * (1 - t) * of.c
        return both + self.process.deviation(t) ** 2

    def ways(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Ends:
        """(E[x_0 | x_t] - x_t)/way(1 - t) and (E[x_1 | x_t] - x_t)/way(t)."""
        of, sigma = self.of, self.process.sigma
        centred = (x_t - expand((1 - t) * of.m_0 + t * of.m_1, x_t)) / expand(self.variance(t), x_t)
        x_0 = of.m_0 + expand((1 - t) * of.s_0**2 + t * of.c, x_t) * centred
        x_1 = of.m_1 + expand(t * of.s_1**2 + (1 - t) * of.c, x_t) * centred
        if sigma == 0:
            return Ends((x_0 - x_1) / math.sqrt(2), (x_1 - x_0) / math.sqrt(2))
        return Ends(
            (x_0 - x_t) / expand(way(1 - t, sigma) + TINY, x_t), (x_1 - x_t) / expand(way(t, sigma) + TINY, x_t)
        )
