"""The energy distance: how much farther samples and data are from each other than from themselves.

    D^2 = 2 E|x - y| - E|x - x'| - E|y - y'|        (Szekely and Rizzo 2013, eq. 1.1)

Zero only if the distributions are equal; no bandwidth, no random directions. It is the MMD whose kernel is -|x - y|
(Sejdinovic et al. 2013), and so has its two estimates: see ``mmd``.
"""

import math

from torch import Tensor

from undiffuse.measure.mmd import discrepancy
from undiffuse.measure.rows import rows


def energy_distance(samples: Tensor, data: Tensor) -> float:
    """D between ``samples (n, *shape)`` and ``data (m, *shape)``: the root of the V-statistic, as scipy's in 1-D."""
    return math.sqrt(max(0.0, energy_distance_squared(samples, data, unbiased=False)))


def energy_distance_squared(samples: Tensor, data: Tensor, *, unbiased: bool = True) -> float:
    """D^2, in the units of the data, by the U-statistic (``unbiased``, may fall below zero) or the V-statistic."""
    x, y = rows(samples, data)
    return discrepancy(x, y, lambda squared: -squared.sqrt().sum(1), unbiased)
