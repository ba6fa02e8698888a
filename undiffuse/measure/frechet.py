"""The Frechet distance between two sets, as if they were Gaussian.

    d^2 = |mu_1 - mu_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^(1/2)        (Dowson and Landau 1982, eq. 4)

On Inception features it is the FID (Heusel et al. 2017, eq. 6); here the rows can be any features.

The matrix root is the delicate term: it is complex or wrong when a covariance has less than full rank. But with any
factors C = R^T R, the eigenvalues of C_1 C_2 are the squared singular values of R_1 R_2^T, and so

    tr (C_1 C_2)^(1/2) = sum of the singular values of R_1 R_2^T.

R is the triangle of the QR decomposition of the centred rows, which needs no covariance and no full rank.
"""

import torch
from torch import Tensor

from undiffuse.measure.rows import rows


def frechet_distance(samples: Tensor, data: Tensor) -> float:
    """d^2 between ``samples (n, *shape)`` and ``data (m, *shape)``: *squared*, as the FID is. In float64 on the CPU.

    Biased upwards, by a term of order 1/n + 1/m that grows with the number of features: compare only numbers of
    equal counts, beside their floor. At least 2 rows each; fewer rows than features is no error.
    """
    x, y = (part.cpu().double() for part in rows(samples, data))
    mean = (x.mean(0) - y.mean(0)).square().sum()
    r_x, r_y = covariance_root(x), covariance_root(y)
    overlap = torch.linalg.svdvals(r_x @ r_y.T).sum()
    return max(0.0, float(mean + r_x.square().sum() + r_y.square().sum() - 2 * overlap))


def covariance_root(x: Tensor) -> Tensor:
    """R with R^T R the sample covariance (over n - 1) of ``x (n, d)``: ``(min(n, d), d)``."""
    return torch.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r").R
