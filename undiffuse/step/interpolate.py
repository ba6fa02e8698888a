"""Multistep methods: a polynomial through the denoiser's last outputs, instead of further evaluations.

A solver needs the mean of f (the denoiser's x_0 or noise) over the next step. The polynomial through f at the last few
nodes has a mean that is linear in the values, sum w_i f_i, and the weights depend only on the nodes: w_i is the
integral of the i-th Lagrange polynomial. Gauss's rule computes it for uneven steps, any variable and any density,
without cancellation when steps are small.

Sampling starts with one node, and so with a step of order 1, whose end point has an error of its length squared. Steps
from there would keep that error, and have order 2 at most. So until there are as many nodes as the order, every step
starts where the first one did (`Recent.origin`) and repeats the path so far, with all nodes known by then. This gives
order 3 without a further evaluation; order 4 becomes order 3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine

# Gauss-Legendre on [0, 1]: exact up to degree 23, and to rounding for e^u over steps of practical length.
_RULE = np.polynomial.legendre.leggauss(12)
POINTS, MASSES = (0.5 * (_RULE[0] + 1)).tolist(), (0.5 * _RULE[1]).tolist()


LONG = 1.0  # over longer steps of lambda a line is extrapolated, not a parabola
GAIN = 15.0  # the largest factor by which a step may multiply an error in a node; over even steps order 4 has 20/3


class Node(NamedTuple):
    """A value of the function that is extrapolated, and its place."""

    at: float  # in the polynomial's variable
    value: Tensor  # (batch, *shape)


Past = tuple[Node, ...]  # the newest first


class Origin(NamedTuple):
    """Where a step starts."""

    x: Tensor  # (batch, *shape)
    t: float


class Recent(NamedTuple):
    """The memory of a multistep method."""

    past: Past
    origin: Origin | None  # of the first step, while there are fewer nodes than the order


def begin(recent: Recent | None, past: Past, order: int, here: Origin) -> tuple[Origin, Recent]:
    """Where the next step starts, given the nodes ``past``; and its memory."""
    if not 0 < len(past) < order:
        return here, Recent(past, None)
    origin = (recent and recent.origin) or here
    return origin, Recent(past, origin)


def remember(past: Past, at: float, value: Tensor, order: int) -> Past:
    """The last ``order`` nodes, the new one first; none if its place is infinite (alpha = 0)."""
    return (Node(at, value), *past)[:order] if math.isfinite(at) else ()


def weights(nodes: Sequence[float], points: Sequence[float], masses: Sequence[float]) -> list[float]:
    """w_i = sum over the points of mass times l_i, Lagrange's polynomial: exact up to degree len(nodes) - 1."""

    def lagrange(node: float, point: float) -> float:
        return math.prod((point - other) / (node - other) for other in nodes if other != node)

    return [sum(mass * lagrange(node, point) for point, mass in zip(points, masses, strict=True)) for node in nodes]


def steady(nodes: Sequence[float], points: Sequence[float], masses: Sequence[float]) -> list[float]:
    """Weights of the newest nodes: as many nodes as multiply an error in their values by `GAIN` at most.

    If nodes lie close together and the step is long, sum |w_i| is far above the step's mass: a polynomial through them
    must not be extrapolated many times the distance between them. (`GAIN` was chosen on exact mixtures of moons and
    digits, from 5 steps to 50 on four schedules.)
    """
    for count in range(len(nodes), 1, -1):
        factors = weights(nodes[:count], points, masses)
        if sum(map(abs, factors)) <= GAIN * abs(sum(masses)):
            return factors
    return [sum(masses)]


def blend(factors: Sequence[float], past: Past) -> Tensor:
    """Sum of factors_i past_i in len(past) passes, or one fewer; a fresh tensor unless it is past[0] itself."""
    if len(past) == 1 and factors[0] == 1.0:
        return past[0].value
    if len(past) == 1:
        return past[0].value * factors[0]
    total = combine(factors[0], past[0].value, factors[1], past[1].value)
    for factor, node in zip(factors[2:], past[2:], strict=True):
        total.add_(node.value, alpha=factor)
    return total


def mean_of_x0(past: Past, start: float, stop: float, middle: float = 0.5, rate: float = 1.0) -> Tensor:
    """The x_0 to move toward: the mean of x_0 over lambda from ``start`` to ``stop`` under the density e^(rate lambda).

    lambda = log(alpha/sigma) is the variable of DPM-Solver and UniPC. Except for that mean the flow is linear:

        x_s = (sigma_s/sigma_t) x_t + sigma_s * integral of e^lambda x_0(lambda) d lambda,

    with ``rate`` 1. For the SDE the rate is 1 + eta^2.

    With one node, x_0 is its value. With two nodes it is linear, and only the mean place matters. In units of the step
    h that is 1/(1 - e^-h) - 1/h (rate 1); the papers replace it by ``middle``, 1/2 + O(h), which is more stable for
    long steps. With more nodes the polynomial is integrated exactly. Over steps longer than `LONG` a parabola
    extrapolates worse than the line through the newest two nodes, so the line is used (chosen on exact mixtures,
    `benchmarks/mixture.py`).
    """
    h = stop - start
    if len(past) == 1 or not math.isfinite(h):  # to the data, or from alpha = 0
        return past[0].value
    past = past[:2] if h > LONG else past
    nodes = [node.at for node in past]
    if len(past) == 2:
        return blend(weights(nodes, [start + middle * h], [1.0]), past)
    density = [mass * math.exp(rate * h * (u - 1)) for u, mass in zip(POINTS, MASSES, strict=True)]
    total = sum(density)
    return blend(weights(nodes, [start + h * u for u in POINTS], [mass / total for mass in density]), past)


def require_order(order: int, highest: int) -> None:
    """Raises `UserError` unless order is one of 1 ... highest."""
    if isinstance(order, bool) or order not in range(1, highest + 1):
        raise UserError(f"order must be a whole number from 1 to {highest}, not {order!r}")
