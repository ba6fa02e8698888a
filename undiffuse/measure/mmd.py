"""The maximum mean discrepancy: the distance between two distributions, given by a kernel.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)        (Gretton et al. 2012, eq. 1)

There are two estimates. The *V-statistic* (eq. 5) averages over all pairs, including each point with itself: it is
never negative, zero for identical sets, and biased upwards by about 1/n + 1/m. The *U-statistic* (eq. 3) leaves out the
pairs of a point with itself: it is unbiased, and below zero about as often as above if the distributions are equal. A
number beside its floor needs a root and a ratio, so the distance is the root of the V-statistic; a test of equality
uses the U-statistic.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.neighbours import BLOCK, squared_distances
from undiffuse.measure.rows import precise, rows

Kernel = Callable[[Tensor], Tensor]  # of the squared distance
SCALES = (0.25, 0.5, 1.0, 2.0)  # bandwidths in median distances: fine detail and outline


def mmd(samples: Tensor, data: Tensor, *, bandwidths: Sequence[float] | None = None) -> float:
    """MMD between ``samples (n, *shape)`` and ``data (m, *shape)``: the root of the V-statistic, in [0, sqrt 2]."""
    return math.sqrt(max(0.0, mmd_squared(samples, data, bandwidths=bandwidths, unbiased=False)))


def mmd_squared(
    samples: Tensor, data: Tensor, *, bandwidths: Sequence[float] | None = None, unbiased: bool = True
) -> float:
    """MMD^2 by the U-statistic (``unbiased``, may fall below zero) or by the V-statistic.

    The kernel is the mean of exp(-|x - y|^2 / (2 h^2)) over the ``bandwidths`` h; without any, ``SCALES`` times
    ``median_distance(data)``. They depend only on the data, so that all samples are measured by one kernel.
    """
    x, y = rows(samples, data)
    widths = bandwidths or [scale * median_distance(y) for scale in SCALES]
    if min(widths) <= 0:
        raise UserError("a kernel needs a bandwidth above zero; is the data constant?")

    def kernel(squared: Tensor) -> Tensor:
        return torch.stack([(squared / (-2 * h * h)).exp_().sum(1) for h in widths]).mean(0)

    return discrepancy(x, y, kernel, unbiased)


def discrepancy(x: Tensor, y: Tensor, kernel_sums: Kernel, unbiased: bool, block: int = BLOCK) -> float:
    """MMD^2 of ``x (n, d)`` and ``y (m, d)``.

    ``kernel_sums`` maps squared distances ``(rows, columns)`` to the kernel's sums over the columns, ``(rows,)``.
    """

    def mean(a: Tensor, b: Tensor) -> float:
        total = sum(float(kernel_sums(squared).cpu().double().sum()) for _, squared in squared_distances(a, b, block))
        return total / (len(a) * len(b))

    def mean_within(a: Tensor) -> float:
        alone = float(kernel_sums(a.new_zeros(1, 1)))  # k(x, x), without rounding
        total = 0.0
        for where, squared in squared_distances(a, a, block):
            squared.diagonal(where.start).zero_()
            total += float(kernel_sums(squared).cpu().double().sum()) - alone * len(squared)
        n = len(a)
        return total / (n * (n - 1)) if unbiased else (total + alone * n) / (n * n)

    return mean_within(x) + mean_within(y) - 2 * mean(x, y)


def median_distance(data: Tensor, at_most: int = 1000) -> float:
    """The median distance between two rows of ``data (m, *shape)`` that differ: the usual bandwidth.

    From at most ``at_most`` rows, evenly spaced through the data; 0 if all are equal.
    """
    flat = data.reshape(len(data), -1)
    flat = flat[torch.linspace(0, len(flat) - 1, min(len(flat), at_most), device=flat.device).round().long()]
    distances = torch.pdist(precise(flat))
    apart = distances[distances > 0]
    return float(apart.median()) if len(apart) else 0.0
