"""The sliced Wasserstein distance: optimal transport along random lines.

On a line, the cheapest way to carry one set of points onto another is in sorted order, so that the distance is
exact: W_2^2 = int_0^1 |F^-1(q) - G^-1(q)|^2 dq, with F^-1 and G^-1 the quantile functions. In many dimensions,
average W_2^2 over lines in every direction (Rabin et al. 2011; Bonneel et al. 2015, eq. 9, with p = 2):

    SW_2 = ( E_theta W_2^2(theta . x, theta . y) )^(1/2).
"""

import math

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.rows import precise, rows

BLOCK = 2**23  # projected numbers held at once


def sliced_wasserstein(
    samples: Tensor, data: Tensor, *, projections: int = 512, seed: int = 0, block: int = BLOCK
) -> float:
    """SW_2 between ``samples (n, *shape)`` and ``data (m, *shape)``, in the units of the data.

    Exact along each of ``projections`` lines, whatever the counts; the lines are drawn from ``seed``, so that two
    calls with one seed share them. One dimension has one line, and the result is W_2 itself.
    """
    if projections < 1:
        raise UserError(f"projections must be at least 1, not {projections}")
    x, y = map(precise, rows(samples, data, least=1))
    x, y = x - y.mean(0), y - y.mean(0)  # far from the origin, projections would round
    lines = directions(projections, x.shape[1], seed).to(x)
    total = 0.0
    for part in lines.split(max(1, block // (len(x) + len(y)))):
        total += float(squared_wasserstein_1d(part @ x.T, part @ y.T).cpu().double().sum())
    return math.sqrt(total / len(lines))


def directions(count: int, dimension: int, seed: int = 0) -> Tensor:
    """``count`` directions, uniform on the unit sphere: ``(count, dimension)``, float64. A line has only one."""
    if dimension == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return normals / normals.norm(dim=1, keepdim=True)


def squared_wasserstein_1d(x: Tensor, y: Tensor) -> Tensor:
    """W_2^2 between the points ``x (lines, n)`` and ``y (lines, m)`` of each line, exactly: ``(lines,)``.

    Both quantile functions are steps, at multiples of 1/n and of 1/m. Counted in units of 1/(n m), the places
    where either steps are integers, and between two of them both are constant.
    """
    n, m = x.shape[1], y.shape[1]
    x, y = x.sort(1).values, y.sort(1).values
    if n == m:
        return (x - y).square().mean(1)
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    widths = steps.diff(prepend=steps.new_zeros(1)).double() / (n * m)
    i, j = ((steps - 1) // m).to(x.device), ((steps - 1) // n).to(x.device)
    return (x[:, i] - y[:, j]).square() @ widths.to(x)
