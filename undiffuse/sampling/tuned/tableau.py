"""A deterministic sampler is a table of numbers.

Whatever DDIM, DPM-Solver++, UniPC, DEIS, ... do between two evaluations of the denoiser is linear: each state at which
they ask is a sum of the noise and of the answers so far. In u = x/spread(t), of unit variance at every time, question
k = 0, ..., N - 1 and the sample u_N, at t = 0, are

    u_k = a_k0 z + a_k1 D_1 + ... + a_kk D_k,        D_i = denoise(spread u_(i-1), t_(i-1)),    u_0 = z,

so N times and N (N + 3)/2 numbers say everything about it. `read` finds them by running the sampler on unit vectors.
Solvers whose coefficients are fitted to a model are such tables too: bespoke non-stationary solvers (Shaul et al.
2024), S4S (Frankel et al. 2025). `undiffuse.sampling.tuned.tune` looks for the best of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step import Step


@dataclass(frozen=True)
class Tableau:
    """When a sampler asks, and what it makes of the answers.

    Attributes:
        times: Of the N questions, strictly falling from 1 at most, above 0.
        rows: Row k = 1, ..., N has k + 1 numbers, a_k0, ..., a_kk.

    Raises:
        UserError: Rows of other lengths, times out of order, or a number that is not finite.
    """

    times: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        grid = self.grid
        if not self.times or not grid[0] <= 1 or any(not s < t for t, s in pairwise(grid)):
            raise UserError(
                f"the times of a tableau fall strictly from 1 at most to above 0, not {list(self.times)[:5]}"
            )
        lengths = [len(row) for row in self.rows]
        if lengths != list(range(2, len(self.times) + 2)):
            raise UserError(f"a tableau of {len(self.times)} times has rows of 2, 3, ... numbers, not {lengths[:5]}")
        if not all(math.isfinite(number) for row in self.rows for number in row):
            raise UserError("a tableau holds finite numbers only")

    @property
    def grid(self) -> tuple[float, ...]:
        """The times, and 0."""
        return (*self.times, 0.0)


class Answers(NamedTuple):
    """What a sampling by a tableau remembers."""

    noise: Tensor  # z, (batch, *shape)
    said: tuple[Tensor, ...]  # D_1, D_2, ...


@dataclass(frozen=True)
class Tabled:
    """The step of a tableau, on its own grid alone."""

    process: Affine
    tableau: Tableau

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Answers | None, noise: Noise
    ) -> tuple[Tensor, Answers]:
        """x_s = spread(s) u_k, row k of the tableau."""
        z, said = memory or Answers(x_t * self.process.input_scale(t), ())
        grid, k = self.tableau.grid, len(said)
        if (t, s) != grid[k : k + 2]:
            raise UserError(f"a tabled step goes along its own grid: question {k + 1} is not at t = {t:g}")
        answers = Answers(z, (*said, denoise(x_t, t)))
        spread = 1 / float(self.process.input_scale(s))
        return weighted_sum([spread * number for number in self.tableau.rows[k]], [z, *answers.said]), answers


def weighted_sum(factors: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    """The sum of factors_i terms_i, of two terms at least, in one pass fewer than there are terms."""
    total = combine(factors[0], terms[0], factors[1], terms[1])
    for factor, term in zip(factors[2:], terms[2:], strict=True):
        total.add_(term, alpha=factor)
    return total


class _NoiseDrawnError(Exception):
    """A step drew noise."""


class _NoNoise:
    """Noise that must not be drawn."""

    def normal(self, like: Tensor) -> Tensor:
        raise _NoiseDrawnError

    uniform = normal


def read(process: Affine, step: Step, times: Sequence[float]) -> Tableau:
    """The tableau of a sampler on a grid: it runs on unit vectors, z and each answer being one.

    Raises:
        UserError: It adds fresh noise, or asks twice at one time.
    """
    width = 2 * len(times)
    units = torch.eye(width, dtype=torch.float64)
    asked: list[float] = []
    states: list[Tensor] = []

    def denoise(x_t: Tensor, t: float) -> Tensor:
        states.append(x_t * process.input_scale(t))
        asked.append(t)
        return units[len(asked)][None]

    start = units[:1] / process.input_scale(times[0])
    try:
        end = last(trajectory(step, denoise, start, times, _NoNoise()))
    except _NoiseDrawnError:
        raise UserError(
            f"{type(step).__name__} adds fresh noise: it has no tableau; choose a deterministic sampler"
        ) from None
    states.append(end * process.input_scale(0.0))
    rows = (tuple(row[0, : k + 2].tolist()) for k, row in enumerate(states[1:]))
    return Tableau(tuple(asked), tuple(rows))
