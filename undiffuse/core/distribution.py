"""The two probability distributions of diffusion: the normal and the discrete one.

Every process returns these, so that ancestral sampling and the variational bound are written once for continuous and
categorical data: both need only ``sample``, ``log_prob`` and ``kl``. (`torch.distributions` has the formulas but draws
only from the global generator; see `undiffuse.core.noise`.)
"""

import math
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from undiffuse.core.noise import Noise


def total(x: Tensor) -> Tensor:
    """Sum over everything but the batch: (batch, *shape) -> (batch,)."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x


def log(probs: Tensor) -> Tensor:
    """The logarithm; of 0 it is -inf, with gradient 0 instead of nan."""
    return torch.where(probs > 0, probs.clamp_min(torch.finfo(probs.dtype).tiny).log(), -torch.inf)


class Distribution(Protocol):
    """A distribution over one batch of data, independent over its entries."""

    def sample(self, noise: Noise) -> Tensor:
        """One draw, (batch, *shape)."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density of x, in nats, (batch,)."""
        ...

    def kl(self, other: Self) -> Tensor:
        """KL(self || other) in nats, (batch,)."""
        ...


@dataclass(frozen=True)
class Normal:
    """N(mean, std^2), entry by entry. ``std`` is a number or broadcasts against ``mean`` (batch, *shape)."""

    mean: Tensor
    std: Tensor | float

    def sample(self, noise: Noise) -> Tensor:
        """mean + std z. With a std of exactly 0 no noise is drawn."""
        if isinstance(self.std, float):
            return self.mean if self.std == 0.0 else self.mean.add(noise.normal(self.mean), alpha=self.std)
        return self.mean.addcmul(noise.normal(self.mean), self.std.to(self.mean))

    def log_prob(self, x: Tensor) -> Tensor:
        """-1/2 ((x - mean)/std)^2 - log std - 1/2 log 2 pi, summed to (batch,)."""
        return total(-0.5 * ((x - self.mean) / self.std) ** 2 - self._log_std() - 0.5 * math.log(2 * math.pi))

    def kl(self, other: "Normal") -> Tensor:
        """Log(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2, summed to (batch,)."""
        ratio = (self._as_tensor(self.std) / other.std) ** 2
        return total(0.5 * (((self.mean - other.mean) / other.std) ** 2 + ratio - 1 - ratio.log()))

    def _as_tensor(self, value: Tensor | float) -> Tensor:
        return torch.as_tensor(value, dtype=self.mean.dtype, device=self.mean.device)

    def _log_std(self) -> Tensor:
        return self._as_tensor(self.std).log()


@dataclass(frozen=True)
class Discrete:
    """A categorical distribution for each entry, from normalised log-probabilities (batch, *shape, states)."""

    log_probs: Tensor

    @classmethod
    def of(cls, probs: Tensor) -> Self:
        """From probabilities."""
        return cls(log(probs))

    def sample(self, noise: Noise) -> Tensor:
        """By inversion: the first state whose cumulative probability exceeds a uniform number.

        In float64 if the device has it, because float32 uniforms have gaps of 2^-24, too coarse for rare states.
        """
        precise = torch.float32 if self.log_probs.device.type == "mps" else torch.float64
        cumulative = self.log_probs.to(precise).exp().cumsum(-1)
        u = noise.uniform(cumulative[..., 0]) * cumulative[..., -1]
        return torch.searchsorted(cumulative, u[..., None], right=True)[..., 0].clamp_max(self.log_probs.shape[-1] - 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) of states x (batch, *shape), summed to (batch,)."""
        return total(self.log_probs.gather(-1, x[..., None])[..., 0])

    def kl(self, other: "Discrete") -> Tensor:
        """Sum of p (log p - log q) with 0 log 0 = 0, summed to (batch,)."""
        p = self.log_probs.exp()
        return total(torch.where(p > 0, p * (self.log_probs - other.log_probs), 0.0).sum(-1))
