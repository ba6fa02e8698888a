"""Block after block: a step of tokens, taken within one block from noise to data, then within the next.

A network of blocks (`undiffuse.net.token_transformer`) sees a block and the blocks before it, which are clean by then.
So the samples are autoregressive in blocks, and diffuse within each (Arriola et al. 2025, algorithm 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.step import Step


class Within(NamedTuple):
    """A step of a block: which block, and from which time to which."""

    block: int
    t: float
    s: float


@dataclass(frozen=True)
class InBlocks:
    """x_s of tokens (batch, length), of which the blocks after the present one are as they were.

    Attributes:
        step: What is done within a block; its memory begins anew with each.
        inner: The times of a block, from 1 to 0.
        block: How many tokens a block has.
        length: How many tokens there are, whole blocks.
    """

    step: Step
    inner: Sequence[float]
    block: int
    length: int

    @property
    def times(self) -> tuple[float, ...]:
        """The grid: that of a block, for every block, each with its share of the time."""
        return (*self._plan, 0.0)

    @cached_property
    def _plan(self) -> dict[float, Within]:
        """What the step from each time is."""
        count = self.length // self.block
        return {
            (count - 1 - block + t) / count: Within(block, t, s)
            for block in range(count)
            for t, s in pairwise(self.inner)
        }

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Any, noise: Noise
    ) -> tuple[Tensor, Any]:
        """The next state, and the step's memory."""
        number, now, then = self._plan[t]
        here = slice(number * self.block, (number + 1) * self.block)

        def within(x: Tensor, time: float) -> Tensor:
            return denoise(torch.cat([x_t[:, : here.start], x, x_t[:, here.stop :]], 1), time)[:, here]

        x_s, memory = self.step(within, x_t[:, here], now, then, memory if now < self.inner[0] else None, noise)
        return torch.cat([x_t[:, : here.start], x_s, x_t[:, here.stop :]], 1), memory
