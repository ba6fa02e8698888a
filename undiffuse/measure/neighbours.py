"""Distances between all pairs of rows, a block at a time: nearest neighbours in bounded memory, exact to rounding.

Short rows are subtracted. For long rows one matrix product about the data's centre c gives |x|^2 + |y|^2 - 2 x.y of
x - c and y - c, many times as fast, but with an error of about eps (|x|^2 + |y|^2). If that is a large share of the
distance (copies, tight clusters far apart), the pair is subtracted after all; so are all pairs on a device without
float64. So every distance has a tiny *relative* error (`ACCURACY`), whatever the data.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from undiffuse.measure.rows import precise

BLOCK = 2**21  # distances held at once: 16 MB in float64; more is slower, as memory is then allocated anew each time
DIRECT = 16  # up to this many coordinates, subtracting is as quick as a matrix product
ACCURACY = {torch.float64: 1e-8, torch.float32: 1e-6}  # of a squared distance, relative
ROUNDING = 64 * torch.finfo(torch.float64).eps  # of a matrix product, relative to its terms


def squared_distances(x: Tensor, y: Tensor, block: int = BLOCK) -> Iterator[tuple[slice, Tensor]]:
    """|x_i - y_j|^2 for ``x (n, d)`` and ``y (m, d)``: pairs (which rows of x, their distances ``(rows, m)``).

    In float64 if the device has it, a piece of y at a time: y is never copied as a whole.
    """
    step = max(1, block // len(y))
    pieces = max(1, block // x.shape[1])
    centre = precise(y[:: max(1, len(y) // 1000)]).mean(0)
    for start in range(0, len(x), step):
        part = precise(x[start : start + step])
        found = [_squared(part, precise(piece), centre) for piece in y.split(pieces)]
        yield slice(start, start + len(part)), found[0] if len(found) == 1 else torch.cat(found, 1)


def _squared(x: Tensor, y: Tensor, centre: Tensor) -> Tensor:
    if x.shape[1] <= DIRECT or x.dtype != torch.float64:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square_()
    a, b = x - centre, y - centre  # the smaller the norms, the fewer pairs are subtracted
    norms = a.square().sum(1, keepdim=True) + b.square().sum(1)
    squared = torch.addmm(norms, a, b.T, alpha=-2)
    cancelled = (squared < norms.mul_(ROUNDING / ACCURACY[x.dtype])).nonzero()
    for i, j in (pairs.T for pairs in cancelled.split(max(1, BLOCK // x.shape[1]))):
        squared[i, j] = (x[i] - y[j]).square().sum(1)
    return squared


def nearest(x: Tensor, y: Tensor, k: int = 1, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """The ``k`` rows of ``y (m, d)`` nearest to each row of ``x (n, d)``: distances and indices ``(n, k)``.

    Distances are ascending, and 0 for a copy. If ``x is y``, no row is its own neighbour.
    """
    distances, indices = [], []
    for where, squared in squared_distances(x, y, block):
        if x is y:
            squared.diagonal(where.start).fill_(torch.inf)
        found = squared.min(1, keepdim=True) if k == 1 else squared.topk(k, largest=False)
        distances.append(found.values.sqrt())
        indices.append(found.indices)
    return torch.cat(distances), torch.cat(indices)
