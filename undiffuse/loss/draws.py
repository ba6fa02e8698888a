"""Uniform numbers for a batch of times: each of them U(0, 1), but not independent of each other.

If the times of a batch are spread evenly, the mean loss varies less than at independent times, and costs the same. Each
number is uniform by itself, so any distribution of t can be drawn from them, by inversion, without bias.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.noise import Noise, Stream

TINY = 2.0**-53


class Draws(ABC):
    """How the uniform numbers of one batch depend on each other."""

    def __call__(self, count: int, noise: Noise) -> Tensor:
        """(count,) float64 on the CPU, strictly inside (0, 1), so that every inverse is finite."""
        if isinstance(noise, Stream) and noise.processes > 1:  # spread over the batch of all processes
            u = self.spread(count * noise.processes, noise.whole())[noise.process :: noise.processes]
        else:
            u = self.spread(count, noise)
        return u.clamp(TINY, 1 - TINY)

    @abstractmethod
    def spread(self, count: int, noise: Noise) -> Tensor:
        """(count,) numbers, each U[0, 1)."""


def _uniform(count: int, noise: Noise) -> Tensor:
    return noise.uniform(torch.empty(count, dtype=torch.float64))


@dataclass(frozen=True)
class Independent(Draws):
    """Independent of each other."""

    def spread(self, count: int, noise: Noise) -> Tensor:
        """U[0, 1)."""
        return _uniform(count, noise)


@dataclass(frozen=True)
class Stratified(Draws):
    """One in each of ``count`` equal parts: u_i = ((i + k) mod count + v_i)/count, k a random whole number below count.

    Without k, row i of a batch would always have a time from part i: biased if rows are not shuffled.
    """

    def spread(self, count: int, noise: Noise) -> Tensor:
        """Rising in i, except for one jump back."""
        first = (_uniform(1, noise) * count).floor()
        return ((torch.arange(count) + first) % count + _uniform(count, noise)) / count


@dataclass(frozen=True)
class LowDiscrepancy(Draws):
    """One random number v, the rest evenly spaced from it: u_i = (v + i/count) mod 1 (Kingma et al. 2021, appendix
    I.1)."""

    def spread(self, count: int, noise: Noise) -> Tensor:
        """A comb with a random start."""
        return (torch.arange(count, dtype=torch.float64) / count + _uniform(1, noise)) % 1


@dataclass(frozen=True)
class Antithetic(Draws):
    """Pairs u, 1 - u: errors that are odd about 1/2 cancel."""

    def spread(self, count: int, noise: Noise) -> Tensor:
        """Half of them drawn, the other half mirrored."""
        u = _uniform(count - count // 2, noise)
        return torch.cat([u, 1 - u[: count // 2]])
