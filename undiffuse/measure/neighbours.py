"""Distances between all pairs of rows, a block at a time: exact nearest neighbours in bounded memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**24  # distances held at once: 64 MB in float32
DIRECT = 16  # up to this many coordinates, subtracting is as quick as a matrix product, and exact


def squared_distances(x: Tensor, y: Tensor, block: int = BLOCK) -> Iterator[tuple[slice, Tensor]]:
    """|x_i - y_j|^2 for ``x (n, d)`` and ``y (m, d)``: pairs (which rows of x, their distances ``(rows, m)``).

    Long rows go through one matrix product, |x|^2 + |y|^2 - 2 x.y, about the centre of ``y``: the smaller the
    norms, the less there is to cancel. What is left is an error of ``rounding(y)``.
    """
    direct = x.shape[1] <= DIRECT
    if not direct:
        centre = y.mean(0)
        x, y = x - centre, y - centre
        y_norms = y.square().sum(1)
    step = max(1, block // len(y))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        if direct:
            squared = torch.cdist(part, y, compute_mode="donot_use_mm_for_euclid_dist").square_()
        else:
            squared = torch.addmm(y_norms, part, y.T, alpha=-2)
            squared.add_(part.square().sum(1, keepdim=True)).clamp_(min=0)
        yield slice(start, start + len(part)), squared


def rounding(points: Tensor) -> float:
    """How far from zero ``squared_distances`` may put two equal rows of ``points (m, d)``."""
    largest = (points - points.mean(0)).square().sum(1).max()
    return 8 * torch.finfo(points.dtype).eps * float(largest)


def nearest(x: Tensor, y: Tensor, k: int = 1, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """The ``k`` rows of ``y (m, d)`` nearest to each row of ``x (n, d)``: distances and indices ``(n, k)``.

    Distances are ascending. Where ``x is y``, no row is its own neighbour. The neighbours are found by
    ``squared_distances``, and their distances then computed by subtraction: an exact copy is at 0, not near it.
    """
    distances, indices = [], []
    for where, squared in squared_distances(x, y, block):
        if x is y:
            squared.diagonal(where.start).fill_(torch.inf)
        found = squared.argmin(1, keepdim=True) if k == 1 else squared.topk(k, largest=False).indices
        exact = torch.stack([(x[where] - y[column]).norm(dim=1) for column in found.T], 1)
        exact, order = exact.sort(1)
        distances.append(exact)
        indices.append(found.gather(1, order))
    return torch.cat(distances), torch.cat(indices)
