"""The exact denoiser of a data set: the ideal denoiser, which minimises every denoising loss on that data.

    E[x_0 | x_t] = sum_i w_i x_i,        w_i ~ p_z((x_t - alpha x_i)/sigma)

with w_i a softmax over the training points; as sigma -> 0, x_i is the nearest one. Samples from it are training points.
A network that does better generalises.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.denoiser.prediction import to_score
from undiffuse.process.affine import Affine

WEIGHTS = 2**24  # in memory at once: a batch is split into parts that fit
SMALLEST = 1e-6  # the least alpha and sigma: at t = 0 the nearest point still has all the weight


@dataclass(frozen=True, eq=False)
class Empirical:
    """x_0 is one of ``data`` (count, *shape), all equally likely. The memory used beyond the data is bounded.

    It holds for `PoissonNoise` too: then it gives PFGM++'s field, in which data points are charges.
    """

    process: Affine
    data: Tensor

    def __call__(self, x_t: Tensor, t: Number, conditions: None = None) -> Tensor:
        """E[x_0 | x_t], (batch, *shape); at t = 0 the nearest point."""
        means = [weights.softmax(-1) @ self._centred for weights in self._log_weights(x_t, t)]
        return torch.cat(means).view_as(x_t) + self._middle

    def log_density(self, x_t: Tensor, t: Number) -> Tensor:
        """log q_t(x_t) in nats, (batch,). Raises `UserError` at t = 0, where there is no density."""
        sigma = torch.as_tensor(self.process.schedule.at(t).sigma, dtype=torch.float64)
        if (sigma == 0).any():
            raise UserError("a data set has no density at t = 0, only points; ask at a later time")
        log_sums = torch.cat([weights.logsumexp(-1) for weights in self._log_weights(x_t, t)])
        return log_sums - math.log(len(self.data)) - self._centred.shape[1] * sigma.log().to(log_sums)

    def score(self, x_t: Tensor, t: Number) -> Tensor:
        """Grad log q_t(x_t), (batch, *shape), for t > 0 and normal noise."""
        self.process.require_gaussian("Tweedie's formula for the score")
        return to_score(self.process.schedule, x_t, self(x_t, t), t)

    def sample(self, count: int, noise: Noise) -> Tensor:
        """Points of the data set, with replacement, (count, *shape)."""
        u = noise.uniform(torch.empty(count, dtype=torch.float64))
        return self.data[(u * len(self.data)).long().to(self.data.device)]

    def posterior_sample(self, x_t: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of p(x_0 | x_t): a training point, by inversion of one uniform number for each sample."""
        u = noise.uniform(x_t.flatten(1)[:, 0])
        picks = []
        for weights in self._log_weights(x_t, t):
            cumulative = weights.softmax(-1).cumsum(-1)
            mine, u = u[: len(weights), None], u[len(weights) :]
            picks.append(torch.searchsorted(cumulative, mine * cumulative[:, -1:], right=True)[:, 0])
        return self.data[torch.cat(picks).clamp(max=len(self.data) - 1)]

    def _log_weights(self, x_t: Tensor, t: Number) -> Iterator[Tensor]:
        """log p_z((x_t - alpha x_i)/sigma), (rows, count), for one part of the batch after the other."""
        alpha, sigma, _ = (
            torch.as_tensor(value, dtype=torch.float64).clamp(min=SMALLEST).view(-1, 1)
            for value in self.process.schedule.at(t)
        )
        snr = (alpha / sigma) ** 2
        x = x_t.flatten(1) / alpha.to(x_t) - self._middle.flatten()
        column = snr.to(x).expand(len(x), 1)
        exact = float(snr.max()) * self._reach > 1e-3
        rows = max(1, WEIGHTS // len(self.data))
        for some, ratio in zip(x.split(rows), column.split(rows), strict=True):
            squares = squared_distances(some, self._centred, exact)
            yield self.process.z.log_density(ratio * squares, x.shape[1])

    @cached_property
    def _middle(self) -> Tensor:
        return self.data.mean(0)

    @cached_property
    def _centred(self) -> Tensor:
        """(count, size), so that distances are differences of small numbers."""
        return (self.data - self._middle).flatten(1)

    @cached_property
    def _reach(self) -> float:
        """The error of the fast form of a squared distance."""
        return float(self._centred.square().sum(1).max()) * torch.finfo(self.data.dtype).eps


def squared_distances(x: Tensor, y: Tensor, exact: bool = True) -> Tensor:
    """||x_i - y_j||^2, (count of x, count of y), of rows.

    ``exact`` as sums of squares, or about 4 times as fast as |x|^2 + |y|^2 - 2 x y, with an error of |y|^2 eps.
    """
    if exact:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return torch.addmm(norms, x, y.T, alpha=-2).clamp(min=0)
