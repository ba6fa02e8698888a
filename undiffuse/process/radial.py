"""Distributions of the noise z in x_t = alpha x_0 + sigma z: the normal one, and PFGM++'s family, which contains it.

Poisson flow embeds N-dimensional data in N + D dimensions, as charges whose field lines lead back to the data. At the
distance r = sigma sqrt(D) from the data's own space, a charge is a perturbation in a uniformly random direction with
radius R, p(R) ~ R^(N-1) / (R^2 + r^2)^((N+D)/2). That is (R/r)^2 = B/(1 - B), B ~ Beta(N/2, D/2) (Xu et al. 2023,
PFGM++, appendix B). Everything else (schedule, training, samplers) is EDM's.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import moved
from undiffuse.core.noise import Noise


class NoiseDistribution(Protocol):
    """A distribution of z."""

    @property
    def is_gaussian(self) -> bool:
        """Whether z is N(0, I). Only then may a step add noise: sums of other noises are distributed differently."""
        ...

    def sample(self, like: Tensor, noise: Noise) -> Tensor:
        """Z of the shape, dtype and device of ``like`` (batch, *shape)."""
        ...

    def log_density(self, square: Tensor, size: int) -> Tensor:
        """log p(z) in nats of a z of ``size`` numbers with |z|^2 = ``square``: all these distributions are radial."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """Z ~ N(0, I): diffusion."""

    formerly: ClassVar[str] = "GaussianLaw"

    @property
    def is_gaussian(self) -> bool:
        """Yes."""
        return True

    def sample(self, like: Tensor, noise: Noise) -> Tensor:
        """Standard normal."""
        return noise.normal(like)

    def log_density(self, square: Tensor, size: int) -> Tensor:
        """-1/2 |z|^2 - size/2 log 2 pi."""
        return -0.5 * square - 0.5 * size * math.log(2 * math.pi)


@dataclass(frozen=True)
class PoissonNoise:
    """PFGM++ with D extra dimensions: D = 1 is PFGM's Poisson flow, D = infinity is `GaussianNoise`.

    z = R/sigma u = sqrt(D) sqrt(B/(1-B)) u, u uniform on the unit sphere of the data's N dimensions.
    """

    formerly: ClassVar[str] = "PoissonLaw"

    D: float = 2048.0

    def __post_init__(self) -> None:
        if not self.D > 0:
            raise UserError(f"PFGM++ needs D > 0, not {self.D}; D = 1 is Poisson flow, D = inf is diffusion")

    @property
    def is_gaussian(self) -> bool:
        """Only at D = infinity."""
        return math.isinf(self.D)

    def sample(self, like: Tensor, noise: Noise) -> Tensor:
        """A radius and a direction for each sample: (batch, *shape)."""
        z = noise.normal(like)
        if self.is_gaussian:
            return z
        flat = z.flatten(1)
        radius = moved(self.radius(like, noise), flat.device, flat.dtype)
        return (flat * (radius / flat.norm(dim=1))[:, None]).view_as(z)

    def log_density(self, square: Tensor, size: int) -> Tensor:
        """Student's t with D degrees of freedom: -(size + D)/2 log(1 + |z|^2/D), with its constant."""
        if self.is_gaussian:
            return GaussianNoise().log_density(square, size)
        both = 0.5 * (size + self.D)
        constant = math.lgamma(both) - math.lgamma(0.5 * self.D) - 0.5 * size * math.log(math.pi * self.D)
        return constant - both * (square / self.D).log1p()

    def radius(self, like: Tensor, noise: Noise) -> Tensor:
        """R/sigma, (batch,) float64, by inversion of one uniform number for each sample.

        B/(1 - B) is computed as B/C with C = 1 - B from its own inverse, since 1 - B underflows for small D.
        """
        from scipy.stats import beta

        u = noise.uniform(torch.empty(len(like), dtype=torch.float64)).numpy()
        half_n, half_d = like[0].numel() / 2, self.D / 2
        ratio = beta(half_n, half_d).ppf(u) / beta(half_d, half_n).isf(u)
        return torch.from_numpy(ratio * self.D).sqrt()
