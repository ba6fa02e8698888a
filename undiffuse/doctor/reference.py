"""The error that any trained network should beat, by noise level: the best of two denoisers that need no training.

    Wiener       E[x_0 | x_t] for a Gaussian with the mean and covariance of the training rows: blurs, but never wildly
    empirical    E[x_0 | x_t] for the training rows themselves (`exact.empirical`): exact for what is dense

The first is the better one where rows are few and wide, the second where they are many and narrow. The covariance is
that of some rows, so that it has few axes; along all others the variance is what is left, shared out evenly.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.exact.empirical import Empirical
from undiffuse.process.affine import Affine

AXES = 512  # at most


@dataclass(frozen=True)
class Wiener:
    """The linear denoiser of least error, for rows ``x_0`` (count, *shape)."""

    process: Affine
    x_0: Tensor

    def __call__(self, x_t: Tensor, t: float, conditions: Conditions | None = None) -> Tensor:
        """m + sum over axes of alpha l/(alpha^2 l + sigma^2) times the part of x_t - alpha m along them."""
        mean, axes, variances, rest = self._fitted
        alpha, sigma, _ = self.process.schedule.at(t)
        centred = x_t.flatten(1) - alpha * mean
        along = centred @ axes.T
        gain = alpha * variances / (alpha**2 * variances + sigma**2).clamp(min=1e-12)
        other = alpha * rest / max(alpha**2 * rest + sigma**2, 1e-12)
        return (mean + (along * (gain - other)) @ axes + other * centred).view_as(x_t)

    @property
    def largest(self) -> float:
        """The variance along the strongest axis."""
        return float(self._fitted[2][0])

    @cached_property
    def _fitted(self) -> tuple[Tensor, Tensor, Tensor, float]:
        rows = self.x_0.flatten(1)[: 4 * AXES]
        mean = rows.mean(0)
        _, scales, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        variances = scales.square() / max(1, len(rows) - 1)
        size, kept = rows.shape[1], min(AXES, len(variances), max(1, len(rows) // 4))
        rest = float(variances[kept:].sum()) / max(1, size - kept)
        return mean, axes[:kept], variances[:kept], rest


def references(process: Affine, x_0: Tensor) -> tuple[Wiener, Empirical]:
    """Both, of training rows as they diffuse."""
    return Wiener(process, x_0), Empirical(process, x_0)
