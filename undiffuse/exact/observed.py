"""A Gaussian mixture of which something is seen, y = A x_0 + noise of deviation s: a mixture again.

Component k keeps its form, by the algebra of Kalman: with the gain K = C A^T (A C A^T + s^2 I)^-1

    m' = m + K (y - A m),   C' = C - K A C,   w' = w N(y; A m, A C A^T + s^2 I)   up to a factor.

As x_t depends on y only through x_0, the denoiser of this mixture is E[x_0 | x_t, y], against which guides are
measured.
"""

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from undiffuse.exact.mixture import GaussianMixture


def observed(mixture: GaussianMixture, a: Tensor, y: Tensor, deviation: float) -> GaussianMixture:
    """The mixture given y (seen,), for one matrix a (seen, size)."""
    means, covariances = mixture.means.flatten(1), mixture.covariances
    seen = a @ covariances @ a.T + deviation**2 * torch.eye(len(a)).to(a)
    off = y - means @ a.T
    gain = torch.linalg.solve(seen, a @ covariances).mT
    weights = mixture.weights.log() + MultivariateNormal(torch.zeros_like(off), seen).log_prob(off)
    moved = (means + (gain @ off[..., None])[..., 0]).view_as(mixture.means)
    left = covariances - gain @ a @ covariances
    kept = weights > weights.max() - 60  # what is impossible to rounding has no weight
    return GaussianMixture(
        mixture.process, (weights - weights.max()).exp()[kept], moved[kept], ((left + left.mT) / 2)[kept]
    )
