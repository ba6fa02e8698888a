"""The one loop: from noise to data along a grid of times, whatever the step.

    for x, t in trajectory(step, denoise, x, times, noise): ...

yields every state, so that a film, a progress bar or an early stop is an ordinary ``for``. Nothing is kept: memory does
not grow with the number of steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise, SeededNoise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process import Process
from undiffuse.step import Step


class State(NamedTuple):
    """Where a trajectory is."""

    x: Tensor  # (batch, *shape)
    t: float  # from times[0] down to times[-1], 0 if it ends at the data


@torch.no_grad()
def trajectory(step: Step, denoise: Denoise, x: Tensor, times: Sequence[float], noise: Noise) -> Iterator[State]:
    """The states x(times[0]), ..., x(times[-1]): one more than there are steps.

    ``times`` fall strictly; a grid (`undiffuse.sampling.grid`) ends at 0, the data.
    """
    if len(times) < 2 or any(s >= t for t, s in pairwise(times)):
        raise UserError(f"a grid needs at least two strictly falling times, not {list(times)[:5]}")
    memory: Any = None
    yield State(x, times[0])
    for t, s in pairwise(times):
        x, memory = step(denoise, x, t, s, memory, noise)
        yield State(x, s)


def last(states: Iterator[State]) -> Tensor:
    """Where a trajectory ends."""
    for state in states:  # noqa: B007
        pass
    return state.x


def sample(
    process: Process,
    step: Step,
    denoise: Denoise,
    like: Tensor,
    times: Sequence[float],
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """Samples number ``first``, ``first`` + 1, ... in the shape, dtype and device of ``like`` (batch, *shape).

    Sample i is a function of (seed, i), not of the batch it is made in.
    """
    noise = SeededNoise(seed, first)
    return last(trajectory(step, denoise, process.start(like, noise, times[0]), times, noise))


@dataclass
class Counted:
    """A denoiser that counts its evaluations: the cost of a sampler is ``count`` after a run."""

    denoise: Denoise
    count: int = field(default=0)

    def __call__(self, x_t: Tensor, t: float) -> Any:
        """The denoiser's answer, one evaluation more."""
        self.count += 1
        return self.denoise(x_t, t)
