"""Random numbers: the same seed gives the same noise, whatever the batch.

Sampling in batches of 64 must give the same samples as sampling one at a time, on any device and over any number of
processes. So noise belongs to the *sample*, not to the batch: a counter-based generator (Philox, Salmon et al. 2011) is
a pure function of (seed, which sample, which draw), and the noise of a sample can be computed without the others.

Training does not need this, and needs speed: `Stream` draws from one ordinary torch generator on the device.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from undiffuse.core.errors import check_seed


class Noise(Protocol):
    """Anything that draws noise in the shape, dtype and device of a tensor ``like`` (batch, *shape)."""

    def normal(self, like: Tensor) -> Tensor:
        """Independent N(0, 1)."""
        ...

    def uniform(self, like: Tensor) -> Tensor:
        """Independent U[0, 1)."""
        ...


class SeededNoise:
    """Noise of samples ``first``, ``first + 1``, ...: a function of (seed, sample, number of earlier draws), and of a
    ``stream``, since what is drawn in several stages needs independent noise for each.

    Small samples share a block of the generator's stream, so that drawing 10,000 points does not take 10,000 calls. The
    split into blocks depends only on the shape of a sample, never on the batch.
    """

    BLOCK = 4096  # numbers per block: the cost of positioning the generator is then below a tenth

    def __init__(self, seed: int, first: int = 0, stream: int = 0) -> None:
        check_seed(seed)
        self.seed, self.first, self.stream, self.draws = seed, first, stream, 0

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1) in the shape, dtype and device of ``like`` (batch, *shape)."""
        return self._draw(like, "standard_normal")

    def uniform(self, like: Tensor) -> Tensor:
        """U[0, 1) in the shape, dtype and device of ``like`` (batch, *shape)."""
        return self._draw(like, "random")

    def _draw(self, like: Tensor, method: str) -> Tensor:
        if not like.numel():
            return torch.empty_like(like)
        count, size = len(like), like[0].numel()
        dtype = np.float64 if like.dtype == torch.float64 else np.float32
        rows = max(1, self.BLOCK // size)  # samples per block
        start, stop = self.first // rows, -(-(self.first + count) // rows)
        numbers = np.empty((stop - start, rows * size), dtype)
        for block in range(start, stop):
            stream = np.random.Philox(key=self.seed, counter=[0, block, self.draws, self.stream])
            getattr(np.random.Generator(stream), method)(out=numbers[block - start], dtype=dtype)
        self.draws += 1
        skip = self.first - start * rows
        mine = numbers.reshape(-1, size)[skip : skip + count].reshape(like.shape)
        return torch.from_numpy(mine).to(like.device, like.dtype, non_blocking=True)


class Stream:
    """Noise from one torch generator, in order: fast, for training. Drawn on the generator's device.

    If several processes share a batch, each draws for the whole batch and takes its own rows, every ``processes``-th
    from ``process`` on. So training is the same for any number of processes.
    """

    def __init__(self, generator: torch.Generator | None = None, process: int = 0, processes: int = 1) -> None:
        self.generator, self.process, self.processes = generator, process, processes

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1) in the shape, dtype and device of ``like``."""
        return self._mine(self._empty(like).normal_(generator=self.generator)).to(like.device)

    def uniform(self, like: Tensor) -> Tensor:
        """U[0, 1) in the shape, dtype and device of ``like``."""
        return self._mine(self._empty(like).uniform_(generator=self.generator)).to(like.device)

    def whole(self) -> "Stream":
        """The same noise for the whole batch of all processes."""
        return Stream(self.generator)

    def _empty(self, like: Tensor) -> Tensor:
        device = self.generator.device if self.generator else like.device
        if self.processes == 1:
            return torch.empty_like(like, device=device)
        return torch.empty(len(like) * self.processes, *like.shape[1:], dtype=like.dtype, device=device)

    def _mine(self, drawn: Tensor) -> Tensor:
        return drawn[self.process :: self.processes]
