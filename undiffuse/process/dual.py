"""Uniform noise as the largest of Gaussians: the diffusion duality (Sahoo et al. 2025, "Duo").

Let w = alpha x_0 + sigma z with x_0 one-hot, of K classes. The class of its largest entry is x_0, or any other class
with equal probability: so it has the marginals of uniform noise (`UNIFORM`), of the share that is unchanged

    a = (K p - 1)/(K - 1),          p = integral of phi(z - r) Phi(z)^(K-1) dz,          r = alpha/sigma

(their eq. 10). p is the probability that entry x_0 is the largest; for K = 2, a = erf(r/2).
"""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.process.curves import Cosine
from undiffuse.process.schedule import Schedule, VariancePreserving

POINTS, REACH = 2001, 12.0  # of the integral, over z or z - r
SMALL = 1.0  # r below which a is computed, above it 1 - a: each without cancellation
HALVINGS = 60


@dataclass(frozen=True)
class Dual(VariancePreserving):
    """The schedule of uniform noise of so many ``classes`` that is dual to a ``gaussian`` one."""

    classes: int = 2
    gaussian: Schedule = field(default_factory=Cosine)

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UserError(f"the largest of Gaussians is one of at least 2 classes, not {self.classes}")

    def log_snr(self, t: Tensor) -> Tensor:
        """Log a - log(1 - a)."""
        r = (0.5 * self.gaussian.log_snr(t)).exp()
        kept, lost = self._kept(r.clamp_max(SMALL)), self._lost(r.clamp_min(SMALL))
        small = r < SMALL
        return torch.where(small, kept, 1 - lost).log() - torch.where(small, 1 - kept, lost).log()

    def time(self, log_snr: Tensor) -> Tensor:
        """By halving [0, 1]."""
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            later = self.log_snr(middle) > log_snr
            low, high = torch.where(later, middle, low), torch.where(later, high, middle)
        return (low + high) / 2

    def _kept(self, r: Tensor) -> Tensor:
        """a = K/(K - 1) integral of phi(z) (e^(r z - r^2/2) - 1) Phi(z)^(K-1), for small r."""
        z, weight = self._grid
        others = ((self.classes - 1) * torch.special.log_ndtr(z)).exp()
        more = torch.expm1(r[..., None] * z - r[..., None] ** 2 / 2)
        return self.classes / (self.classes - 1) * (weight * others * more).sum(-1)

    def _lost(self, r: Tensor) -> Tensor:
        """1 - a = K/(K - 1) integral of phi(u) (1 - Phi(r + u)^(K-1)), u = z - r."""
        u, weight = self._grid
        others = -torch.expm1((self.classes - 1) * torch.special.log_ndtr(r[..., None] + u))
        return self.classes / (self.classes - 1) * (weight * others).sum(-1)

    @cached_property
    def _grid(self) -> tuple[Tensor, Tensor]:
        """Places, and phi of them times their distance."""
        z = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
        return z, (-0.5 * z**2).exp() / (-0.5 * z**2).exp().sum()
