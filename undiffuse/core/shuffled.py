"""A random order of many things, of which any part is known without the rest.

    shuffled(625_000_000, seed)[k : k + 64]

Up to `LISTED` things, the order is a list. Beyond, it is a Feistel network (Luby and Rackoff 1988): a number of 2 h
bits is two halves, and a round (l, r) -> (r, l xor f(r)) can be undone whatever f is; so some rounds are a permutation
of 0 ... 4^h - 1. A number that lands beyond the count is taken through it again until it does not ("cycle walking",
Black and Rogaway 2002), which leaves a permutation of 0 ... count - 1. As 4^h is less than 4 times the count, fewer
than 4 passes are needed on average.
"""

import numpy as np
import torch
from torch import Tensor

LISTED = 1 << 24
ROUNDS = 6
MIX, MULTIPLY = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's


class Permutation:
    """A permutation of 0 ... ``count`` - 1 that a seed chooses."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.half = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))
        self.mask = np.uint64((1 << int(self.half)) - 1)
        self.keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> Tensor:
        """What comes at these places, int64."""
        x = np.arange(*part.indices(self.count), dtype=np.uint64)
        x = self._rounds(x)
        while len(beyond := np.flatnonzero(x >= self.count)):
            x[beyond] = self._rounds(x[beyond])
        return torch.from_numpy(x.astype(np.int64))

    def _rounds(self, x: np.ndarray) -> np.ndarray:
        left, right = x >> self.half, x & self.mask
        for key in self.keys:
            mixed = (right + key) * MIX
            mixed = (mixed ^ (mixed >> np.uint64(29))) * MULTIPLY
            left, right = right, left ^ ((mixed >> np.uint64(32)) & self.mask)
        return left << self.half | right


def shuffled(count: int, seed: int) -> Tensor | Permutation:
    """A random order of 0 ... ``count`` - 1: a list (count,), or what gives any slice of it."""
    if count > LISTED:
        return Permutation(count, seed)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
