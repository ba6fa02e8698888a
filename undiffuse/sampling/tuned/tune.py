"""The search for a model's own sampler: downhill from the best fixed one, as far as other noise agrees.

    *_, found = tune(fit, choose, best_of(choose, fixed(process, 5)))
    step, times = Tabled(process, found.tableau), found.tableau.grid

There are two lots of noise. The tableau is fitted to one. Of those on the way, with the fixed sampler that it began
with among them, it keeps the one that errs least on the other: there it never ends worse than it began. How good it is,
a third lot says.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from undiffuse.core.errors import UserError
from undiffuse.process.affine import Affine
from undiffuse.sampling.grid import angle_uniform
from undiffuse.sampling.samplers import samplers_of
from undiffuse.sampling.tuned.gauss_newton import Descent, descend
from undiffuse.sampling.tuned.parameters import EveryNumber, GridOf, Parameters
from undiffuse.sampling.tuned.problem import Problem
from undiffuse.sampling.tuned.tableau import Tableau, read
from undiffuse.step import Step

ROUNDS = 15
PATIENCE = 3  # rounds without gain on the noise that chooses


class Start(NamedTuple):
    """A fixed sampler."""

    step: Step
    tableau: Tableau


class Best(NamedTuple):
    """The best after a round."""

    tableau: Tableau
    error: float  # median, of the noise that chooses


def fixed(process: Affine, count: int) -> dict[str, Start]:
    """By name the deterministic samplers of one evaluation a step, each on its own grid and on `angle_uniform`."""
    found = {}
    for name, sampler in samplers_of(process).items():
        for grid in dict.fromkeys((sampler.grid, angle_uniform)):
            step = sampler.make(process)
            try:
                tableau = read(process, step, grid(process.schedule, count))
            except UserError:  # it draws noise
                continue
            if len(tableau.times) == count:  # else it asks twice a step
                found[f"{name} on angle-uniform" if grid is angle_uniform else name] = Start(step, tableau)
    return found


@torch.no_grad()
def tune(fit: Problem, choose: Problem, start: Start, rounds: int = ROUNDS, grid_alone: bool = False) -> Iterator[Best]:
    """The best tableau, at first and after each round; it ends when no round of the last `PATIENCE` gained anything.

    ``grid_alone`` moves the times alone, and the sampler keeps its own coefficients.
    """
    best = Best(start.tableau, choose.error(start.tableau))
    yield best
    terms = fit.terms(start.tableau)
    place, since = Descent(start.tableau, float(fit.errors(fit.end(start.tableau, len(terms), terms)).mean())), 0
    for _ in range(rounds):
        parameters: Parameters = (
            GridOf(fit.process, start.step, place.tableau.times)
            if grid_alone
            else EveryNumber.of(fit.process, place.tableau, terms)
        )
        found = descend(fit, parameters, terms, place)
        if found is None:
            return
        place, terms = found, fit.terms(found.tableau)
        error = choose.error(place.tableau)
        best, since = (Best(place.tableau, error), 0) if error < best.error else (best, since + 1)
        yield best
        if since == PATIENCE:
            return
