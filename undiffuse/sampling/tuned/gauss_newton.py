"""Which small change of a tableau brings its ends nearest to the truth: Gauss and Newton's, damped.

Ends are nearly linear in the parameters p, end(p) = end + J p, so the change that leaves least of the error is

    p = (J^T W J + mu I)^-1 J^T W (truth - end),

tried for a few dampings mu (Levenberg 1944; Marquardt 1963). W = 1/error of each sample makes it the mean of the errors
that falls, not of their squares: a few noises that lie between two modes would rule the squares.

J is made of difference quotients. A parameter of question k leaves the answers before it as they are, so J costs about
N^3/6 + N^2 evaluations a sample: as many as some N^2/18 gradients by backpropagation, of which a descent needs
thousands. And it needs no derivative of a network and no graph in memory: nothing but the denoiser.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.sampling.tuned.parameters import Parameters
from undiffuse.sampling.tuned.problem import Problem
from undiffuse.sampling.tuned.tableau import Tableau

DIFFERENCE = 0.03  # of a parameter: float32 tells the ends apart, and they are still linear
HEAVIEST = 4.0  # weight of a sample, over the mean weight
DAMPINGS = (0.1, 1.0, 10.0)  # times the last one
MOST_DAMPED = 1e9


class Descent(NamedTuple):
    """Where the descent is."""

    tableau: Tableau
    error: float  # mean over the noises that it is fitted to
    damping: float = 0.1  # over the mean square of J's columns


def descend(problem: Problem, parameters: Parameters, terms: Sequence[Tensor], place: Descent) -> Descent | None:
    """A better place, reached by changing the parameters, which are those of ``place``; None if none is near.

    ``terms`` are what the problem answers to ``place``'s tableau.
    """
    square, slope = _equations(problem, parameters, terms, place.tableau)
    scale, damping = square.diagonal().mean(), place.damping
    while damping < MOST_DAMPED:
        tried = [_tried(problem, parameters, square, slope, scale, damping * factor) for factor in DAMPINGS]
        best = min(tried, key=lambda found: found.error)
        if best.error < place.error:
            return best
        damping *= 100
    return None


def _tried(
    problem: Problem, parameters: Parameters, square: Tensor, slope: Tensor, scale: Tensor, damping: float
) -> Descent:
    """Where this damping leads; infinitely bad where that is no tableau."""
    by = torch.linalg.solve(square + damping * scale * torch.eye(len(square), dtype=square.dtype), slope)
    try:
        tableau = parameters.moved(by.tolist())
    except UserError:
        return Descent(Tableau((1.0,), ((0.0, 0.0),)), torch.inf, damping)
    return Descent(tableau, float(problem.errors(problem.end(tableau)).mean()), damping)


def _equations(
    problem: Problem, parameters: Parameters, terms: Sequence[Tensor], tableau: Tableau
) -> tuple[Tensor, Tensor]:
    """J^T W J, (parameters, parameters), and J^T W (truth - end), (parameters,): float64 on the CPU."""
    end = problem.end(tableau, len(tableau.times), terms)
    weight = 1 / problem.errors(end).clamp(min=1e-12)
    root = (weight / weight.mean()).clamp(max=HEAVIEST).sqrt().view(-1, *[1] * (end.ndim - 1))
    columns = []
    for j, first in enumerate(parameters.first):
        near = parameters.moved([DIFFERENCE * (i == j) for i in range(len(parameters.first))])
        moved = problem.end(near, first, terms)
        columns.append((root * (moved - end)).flatten() / DIFFERENCE)
    jacobian = torch.stack(columns)
    left = (root * (problem.truth - end)).flatten()
    return (jacobian @ jacobian.T).cpu().double(), (jacobian @ left).cpu().double()
