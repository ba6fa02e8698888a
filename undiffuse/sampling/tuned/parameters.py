"""What of a tableau may change, as numbers that are 0 where it is now and of order 1.

Times move in log sigma/alpha, in units of the step that they begin. A state moves along directions that it can reach,
orthonormal over the noises of a problem, in units of its noise level. Over such lengths a denoiser changes, so that one
damping and one difference quotient suit all parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from undiffuse.process.affine import Affine
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.tuned.tableau import Tableau, read
from undiffuse.step import Step

FLAT = 1e-7  # of the largest variance: directions of less are left out, as they would need large coefficients
LONGEST = 1.0  # of the units of time


class Parameters(Protocol):
    """Ways to change a tableau."""

    @property
    def first(self) -> Sequence[int]:
        """Of each parameter the first question that it changes, N if that is the sample itself."""
        ...

    def moved(self, by: Sequence[float]) -> Tableau:
        """The tableau with the parameters at these values. Raises `UserError` if it would be none."""
        ...


@dataclass(frozen=True)
class GridOf:
    """The times of a sampler, which keeps its own coefficients."""

    process: Affine
    step: Step
    times: tuple[float, ...]  # without the data's

    @property
    def first(self) -> Sequence[int]:
        """Each time changes its own question."""
        return range(len(self.times))

    def moved(self, by: Sequence[float]) -> Tableau:
        """The sampler on the other grid."""
        return read(self.process, self.step, (*shifted(self.process.schedule, self.times, by), 0.0))


@dataclass(frozen=True)
class EveryNumber:
    """All times, and all rows along their directions."""

    process: Affine
    tableau: Tableau
    directions: tuple[tuple[tuple[float, ...], ...], ...]  # of row k = 1, ..., N: some of k + 1 numbers

    @classmethod
    def of(cls, process: Affine, tableau: Tableau, terms: Sequence[Tensor]) -> Self:
        """With the directions in which these terms, z, D_1, ..., D_N of a problem, vary."""
        each = torch.stack([term.flatten() for term in terms])
        products = (each @ each.T).cpu().double() / each.shape[1]
        sizes = [process.schedule.at(t).sigma * process.input_scale(t) for t in tableau.times[1:]]
        found = []
        for k, size in enumerate([*sizes, 1.0], start=2):
            variances, axes = torch.linalg.eigh(products[:k, :k])
            kept = variances > FLAT * variances[-1]
            found.append(tuple(map(tuple, (size * axes[:, kept] / variances[kept].sqrt()).T.tolist())))
        return cls(process, tableau, tuple(found))

    @property
    def first(self) -> Sequence[int]:
        """The times, then row by row."""
        rows = [k for k, directions in enumerate(self.directions, start=1) for _ in directions]
        return [*range(len(self.tableau.times)), *rows]

    def moved(self, by: Sequence[float]) -> Tableau:
        """The times first, then each row along its directions."""
        count = len(self.tableau.times)
        left, rows = iter(by[count:]), []
        for row, directions in zip(self.tableau.rows, self.directions, strict=True):
            lengths = [next(left) for _ in directions]
            moves = [[x * a for a in direction] for x, direction in zip(lengths, directions, strict=True)]
            rows.append(tuple(map(sum, zip(row, *moves, strict=True))))
        return Tableau(shifted(self.process.schedule, self.tableau.times, by[:count]), tuple(rows))


def shifted(schedule: Schedule, times: Sequence[float], by: Sequence[float]) -> tuple[float, ...]:
    """Times moved toward the data by parts of the step in log sigma/alpha that begins there, of `LONGEST` at most.

    A time of pure noise, alpha = 0, stays.
    """
    places = [0.5 * schedule.at(t).log_snr for t in times]
    steps = [min(b - a, LONGEST) for a, b in zip(places, [*places[1:], math.inf], strict=True)]
    log_snr = torch.tensor([2 * (a + x * h) for a, x, h in zip(places, by, steps, strict=True)], dtype=torch.float64)
    moved = schedule.time(log_snr).tolist()
    return tuple(t if x == 0 or math.isinf(a) else s for t, x, a, s in zip(times, by, places, moved, strict=True))
