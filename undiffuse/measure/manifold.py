"""Precision and recall, density and coverage: quality and diversity, measured apart.

A set's manifold is the union of balls around its points, each reaching to the point's k-th nearest neighbour.

    precision   share of samples inside the data's manifold      (Kynkaanniemi et al. 2019, eq. 2)
    recall      share of data inside the samples' manifold
    density     balls of the data that hold a sample, over k     (Naeem et al. 2020, eq. 5)
    coverage    share of the data's balls that hold a sample     (Naeem et al. 2020, eq. 6)

One outlier among the data raises precision, because its ball is large; density counts balls and is hardly affected. One
outlier among the samples raises recall; coverage uses only the balls of the data.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.neighbours import ACCURACY, BLOCK, nearest, squared_distances
from undiffuse.measure.rows import rows


class Manifold(NamedTuple):
    """Shares in [0, 1], higher is better; density is near 1 for equal distributions, and may exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(samples: Tensor, data: Tensor, *, k: int = 5, block: int = BLOCK) -> Manifold:
    """All four, of ``samples (n, *shape)`` against ``data (m, *shape)``, in one pass over the distances.

    ``k`` as in Naeem et al. (5); Kynkaanniemi et al. take 3. Needs more than ``k`` rows of each.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, not {k}")
    x, y = rows(samples, data, least=k + 1)
    x_reach, y_reach = (_squared_reach(part, k, block) for part in (x, y))
    holders = torch.zeros(len(x), dtype=torch.int64, device=x.device)  # balls of the data that hold each sample
    recalled, covered = (torch.zeros(len(y), dtype=torch.bool, device=x.device) for _ in range(2))
    for where, squared in squared_distances(x, y, block):
        inside = squared <= y_reach
        holders[where] = inside.sum(1)
        covered |= inside.any(0)
        recalled |= (squared <= x_reach[where, None]).any(0)
    return Manifold(
        precision=_share(holders > 0),
        recall=_share(recalled),
        density=int(holders.sum()) / (k * len(x)),
        coverage=_share(covered),
    )


def _squared_reach(points: Tensor, k: int, block: int) -> Tensor:
    """The squared radius of each ball, enlarged by the rounding of distances, so that a copy of a neighbour is
    inside."""
    squared = nearest(points, points, k, block)[0][:, -1].square()
    return squared * (1 + 2 * ACCURACY[squared.dtype])


def _share(held: Tensor) -> float:
    return int(held.sum()) / len(held)
