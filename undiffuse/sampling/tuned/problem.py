"""Noise, where a fine solution of the probability flow takes it, and how far from there a tableau ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.sampling.grid import widening
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.tuned.tableau import Tableau, weighted_sum
from undiffuse.step.unipc import UniPC

FINE = 100  # steps of the fine solution
FARTHEST = 1e4  # standard deviations, of data
APART = 1 << 40  # the number of the first sample whose noise is used: nobody draws so many


@dataclass(frozen=True)
class Problem:
    """What a tableau is measured on.

    Attributes:
        process: What destroyed the data.
        denoise: The denoiser of these samples, guided and conditioned as they are.
        z: Noise of unit variance, (count, *shape).
        truth: Where the flow takes it, (count, *shape).
    """

    process: Affine
    denoise: Denoise
    z: Tensor
    truth: Tensor

    @classmethod
    def draw(
        cls, process: Affine, denoise: Denoise, like: Tensor, seed: int = 0, first: int = 0, fine: int = FINE
    ) -> Self:
        """Noise of samples ``first``, ... of those kept apart, in the shape of ``like``; its end by ``fine`` steps.

        Raises UserError where the flow leads to no numbers, or to some that are of no data.
        """
        z = process.start(like, SeededNoise(seed, APART + first), 1.0) * process.input_scale(1.0)
        truth = solution(process, denoise, z, fine)
        if not bool((truth.abs() < FARTHEST).all()):
            raise UserError(f"{fine} steps of UniPC lead to samples that are no data: nothing to tune to; guide less")
        return cls(process, denoise, z, truth)

    def terms(self, tableau: Tableau, first: int = 0, known: Sequence[Tensor] = ()) -> list[Tensor]:
        """z, D_1, ..., D_N; up to question ``first``, they are ``known``."""
        terms = [self.z, *known[1 : first + 1]]
        for k in range(first, len(tableau.times)):
            u = weighted_sum(tableau.rows[k - 1], terms) if k else self.z
            terms.append(self.denoise(u / self.process.input_scale(tableau.times[k]), tableau.times[k]))
        return terms

    def end(self, tableau: Tableau, first: int = 0, known: Sequence[Tensor] = ()) -> Tensor:
        """The samples, (count, *shape)."""
        return weighted_sum(tableau.rows[-1], self.terms(tableau, first, known)) / self.process.input_scale(0.0)

    def errors(self, end: Tensor) -> Tensor:
        """The root mean square difference of each sample from the truth; infinite where it is no number. (count,)"""
        each = (end - self.truth).flatten(1).square().mean(1).sqrt()
        return torch.where(each.isfinite(), each, torch.inf)

    def error(self, tableau: Tableau) -> float:
        """The median of the errors."""
        return float(self.errors(self.end(tableau)).median())


def solution(process: Affine, denoise: Denoise, z: Tensor, steps: int) -> Tensor:
    """Where the probability flow takes noise z, by so many steps of UniPC, order 3."""
    times = widening(process.schedule, steps)
    start = z / process.input_scale(times[0])
    return last(trajectory(UniPC(process), denoise, start, times, SeededNoise(0)))
