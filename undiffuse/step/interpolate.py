"""Multistep methods: instead of asking the denoiser again, remember what it said, and draw a polynomial through it.

A solver needs the mean of f (x_0 or the noise, as the denoiser sees them) over the step to come. The polynomial
through f at the last few nodes has a mean that is linear in what was said, sum w_i f_i, and the weights are known
from the nodes alone: w_i = integral of the i-th Lagrange polynomial. They are integrated by Gauss's rule, which
allows uneven steps, any variable and any density, and loses nothing to cancellation when steps are small.

A run begins with one node, and so with a step of order 1, whose landing point errs by its length squared: steps that
went on from there would keep that error, and show order 2 whatever theirs is. So until all nodes are there, a step
leaves from where the first one did (`Recent.origin`): it makes the path so far again, through all that is known by
now. That keeps order 3 at no evaluation; order 4 begins with order 3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine

# Gauss-Legendre on [0, 1]: exact to degree 23, and to rounding for e^u over the widest step anyone takes.
_RULE = np.polynomial.legendre.leggauss(12)
POINTS, MASSES = (0.5 * (_RULE[0] + 1)).tolist(), (0.5 * _RULE[1]).tolist()


LONG = 1.0  # steps of lambda over which a line is extrapolated, and no parabola
GAIN = 15.0  # by which a step may multiply an error in what was said; over even steps order 4 does by 20/3


class Node(NamedTuple):
    """What was seen, and where."""

    at: float  # in the polynomial's variable
    value: Tensor  # (batch, *shape)


Past = tuple[Node, ...]  # the newest first


class Origin(NamedTuple):
    """Where a step leaves from."""

    x: Tensor  # (batch, *shape)
    t: float


class Recent(NamedTuple):
    """What a multistep method wants to see again."""

    past: Past
    origin: Origin | None  # of the first step, while fewer nodes are known than the order asks for


def begin(recent: Recent | None, past: Past, order: int, here: Origin) -> tuple[Origin, Recent]:
    """Where the next step leaves from, with ``past`` known by now; and what to remember."""
    if not 0 < len(past) < order:
        return here, Recent(past, None)
    origin = (recent and recent.origin) or here
    return origin, Recent(past, origin)


def remember(past: Past, at: float, value: Tensor, order: int) -> Past:
    """The last ``order`` nodes, this one first; none at an infinite coordinate (alpha = 0)."""
    return (Node(at, value), *past)[:order] if math.isfinite(at) else ()


def weights(nodes: Sequence[float], points: Sequence[float], masses: Sequence[float]) -> list[float]:
    """w_i = sum over the points of mass times Lagrange's l_i: exact for polynomials of degree len(nodes) - 1."""

    def lagrange(node: float, point: float) -> float:
        return math.prod((point - other) / (node - other) for other in nodes if other != node)

    return [sum(mass * lagrange(node, point) for point, mass in zip(points, masses, strict=True)) for node in nodes]


def steady(nodes: Sequence[float], points: Sequence[float], masses: Sequence[float]) -> list[float]:
    """Weights of the newest nodes, as many as multiply an error in what was said by `GAIN` at most.

    Where nodes crowd together and the step is long, sum |w_i| is far above the step's mass: a polynomial through a few
    neighbours says nothing of places many times further away than they are apart. (`GAIN` was chosen on exact mixtures
    of moons and digits, from 5 steps to 50 on four schedules.)
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
    for factor, said in zip(factors[2:], past[2:], strict=True):
        total.add_(said.value, alpha=factor)
    return total


def mean_of_x0(past: Past, start: float, stop: float, middle: float = 0.5, rate: float = 1.0) -> Tensor:
    """The x_0 to move toward: the mean of x_0 over lambda from ``start`` to ``stop`` under the density e^(rate lambda).

    lambda = log(alpha/sigma) is the variable of DPM-Solver and UniPC, and the flow is linear in it but for that mean,

        x_s = (sigma_s/sigma_t) x_t + sigma_s * integral of e^lambda x_0(lambda) d lambda

    (``rate`` 1; an SDE forgets faster: 1 + eta^2).

    With one node x_0 is that node. With two it lies on a line, and only the mean place counts, in units of the step:
    1/(1 - e^-h) - 1/h exactly (rate 1), 1/2 + O(h) in the papers' ``middle``, which is steadier when steps are long.
    With more nodes the polynomial is integrated exactly. Over steps longer than `LONG` a parabola extrapolates worse
    than the line through the newest two, and that line is taken (chosen on exact mixtures, `benchmarks/mixture.py`).
    """
    h = stop - start
    if len(past) == 1 or not math.isfinite(h):  # to the data itself, or from alpha = 0: believe the newest
        return past[0].value
    past = past[:2] if h > LONG else past
    nodes = [said.at for said in past]
    if len(past) == 2:
        return blend(weights(nodes, [start + middle * h], [1.0]), past)
    density = [mass * math.exp(rate * h * (u - 1)) for u, mass in zip(POINTS, MASSES, strict=True)]
    total = sum(density)
    return blend(weights(nodes, [start + h * u for u in POINTS], [mass / total for mass in density]), past)


def require_order(order: int, highest: int) -> None:
    """Raises `UserError` unless order is one of 1 ... highest."""
    if isinstance(order, bool) or order not in range(1, highest + 1):
        raise UserError(f"order must be a whole number from 1 to {highest}, not {order!r}")
