"""Precision and recall, density and coverage: quality told apart from variety.

A set's manifold is the union of balls around its points, each reaching to the point's k-th nearest neighbour.

    precision   share of samples inside the data's manifold      (Kynkaanniemi et al. 2019, eq. 2)
    recall      share of data inside the samples' manifold
    density     balls of the data that hold a sample, over k     (Naeem et al. 2020, eq. 5)
    coverage    share of the data's balls that hold a sample     (Naeem et al. 2020, eq. 6)

One outlier among the data widens precision, as its ball is large; density counts balls and does not mind. One
outlier among the samples widens recall; coverage looks at the data's balls alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.neighbours import BLOCK, nearest, rounding, squared_distances
from undiffuse.measure.rows import rows


class Manifold(NamedTuple):
    """Shares in [0, 1], higher is better; density is near 1 for equal laws, and may exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(samples: Tensor, data: Tensor, *, k: int = 5, block: int = BLOCK) -> Manifold:
    """The four, of ``samples (n, *shape)`` against ``data (m, *shape)``, in one pass over the distances.

    ``k`` as in Naeem et al. (5); Kynkaanniemi et al. take 3. Needs more than ``k`` rows of each.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, not {k}")
    x, y = rows(samples, data, least=k + 1)
    # Rounding must not put a copy outside a ball of radius zero.
    slack = rounding(torch.cat([x, y]))
    x_reach, y_reach = (nearest(part, part, k, block)[0][:, -1].square() + slack for part in (x, y))
    holders = x.new_zeros(len(x))  # balls of the data that hold each sample
    recalled = torch.zeros(len(y), dtype=torch.bool, device=x.device)
    closest = x.new_full((len(y),), torch.inf)
    for where, squared in squared_distances(x, y, block):
        holders[where] = (squared <= y_reach).sum(1).to(x)
        recalled |= (squared <= x_reach[where, None]).any(0)
        closest = torch.minimum(closest, squared.amin(0))
    return Manifold(
        precision=float((holders > 0).double().mean()),
        recall=float(recalled.double().mean()),
        density=float(holders.double().mean()) / k,
        coverage=float((closest <= y_reach).double().mean()),
    )
