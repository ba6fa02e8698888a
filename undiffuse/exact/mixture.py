"""The exact denoiser of a Gaussian mixture, with any covariances.

Data of component k is N(m, V diag(l) V^T), so x_t is N(alpha m, V diag(alpha^2 l + sigma^2) V^T): the same axes V at
every time. In the coordinates c = V^T (x_t - alpha m) everything is a division, and given the component

    E[x_0 | x_t, k] = m + V (alpha l/(alpha^2 l + sigma^2) c).

Without it, E[x_0 | x_t] is the average over components with weights p(k | x_t). The eigendecompositions are computed
once.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, expand
from undiffuse.core.noise import Noise
from undiffuse.process.affine import Affine

SMALLEST = 1e-12  # the least variance of x_t, for data without width at t = 0


class Coordinates(NamedTuple):
    """x_t along the axes of each component."""

    c: Tensor  # (batch, components, size)
    variance: Tensor  # of c, (components, size) or (batch, components, size)
    gain: Tensor  # d E[x_0 | x_t, k]/dc, in the shape of variance


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """x_0 ~ sum_k w_k N(m_k, C_k). Data has any shape; size is the count of its numbers.

    Raises `UserError` if the parameters' shapes disagree, or weights are not positive.
    """

    process: Affine
    weights: Tensor  # (components,), normalised here
    means: Tensor  # (components, *shape)
    covariances: Tensor  # (components, size, size), positive semi-definite

    def __post_init__(self) -> None:
        self.process.require_gaussian("an exact denoiser of Gaussians")
        components, size = len(self.means), self.means[0].numel()
        if self.weights.shape != (components,) or self.covariances.shape != (components, size, size):
            raise UserError(
                f"{components} means of {size} numbers need weights ({components},) and covariances "
                f"({components}, {size}, {size}), not {tuple(self.weights.shape)} and {tuple(self.covariances.shape)}"
            )
        if not (self.weights > 0).all():
            raise UserError("every component of a mixture needs a positive weight; leave out the others")

    @classmethod
    def isotropic(cls, process: Affine, means: Tensor, std: float, weights: Tensor | None = None) -> Self:
        """Components N(mean, std^2 I) at ``means`` (components, *shape), equally likely without ``weights``."""
        count, size = len(means), means[0].numel()
        covariances = (std**2 * torch.eye(size).to(means)).expand(count, size, size)
        return cls(process, means.new_ones(count) if weights is None else weights, means, covariances)

    @classmethod
    def fit(cls, process: Affine, data: Tensor, components: int, seed: int = 0, floor: float = 1e-3) -> Self:
        """The mixture fitted to ``data`` (count, *shape) by expectation maximisation, with full covariances.

        ``floor`` is added to every variance, so that no direction has variance 0.
        """
        from sklearn.mixture import GaussianMixture as Fit

        flat = data.flatten(1).double().cpu().numpy()
        fit = Fit(components, reg_covar=floor, random_state=seed).fit(flat)
        weights, means, covariances = (
            torch.from_numpy(x).to(data) for x in (fit.weights_, fit.means_, fit.covariances_)
        )
        return cls(process, weights, means.view(-1, *data.shape[1:]), covariances)

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """E[x_0 | x_t], (batch, *shape); given the component that the one entry of the conditions names, if present."""
        at = self._coordinates(x_t, t)
        share = _softmax(self._log_joint(at, conditions))
        return self._assemble(share, at.gain * at.c).view_as(x_t)

    def score(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """Grad log q_t(x_t), (batch, *shape)."""
        at = self._coordinates(x_t, t)
        share = _softmax(self._log_joint(at, conditions))
        return self._back(-share[..., None] * at.c / at.variance).view_as(x_t)

    def log_density(self, x_t: Tensor, t: Number = 0.0) -> Tensor:
        """log q_t(x_t) in nats, (batch,)."""
        return self._log_joint(self._coordinates(x_t, t)).logsumexp(-1)

    def log_share(self, x_t: Tensor, t: Number) -> Tensor:
        """log p(k | x_t), (batch, components): the ideal noise-aware classifier."""
        return self._log_joint(self._coordinates(x_t, t)).log_softmax(-1)

    def sample(self, count: int, noise: Noise) -> Tensor:
        """Data, (count, *shape)."""
        like = self.means[:1].expand(count, *self.means.shape[1:])
        log_share = self._log_weights.expand(count, -1)
        z = noise.normal(like).flatten(1)[:, None]
        return self._assemble(self._pick(log_share, noise), self._eigenvalues.sqrt() * z).view_as(like)

    def posterior_sample(self, x_t: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of p(x_0 | x_t): a component, then N(its mean, l (1 - alpha gain)) along its axes."""
        at = self._coordinates(x_t, t)
        share = self._pick(self._log_joint(at).log_softmax(-1), noise)
        alpha = expand(self.process.schedule.at(t).alpha, at.c)
        std = (self._eigenvalues * (1 - alpha * at.gain)).clamp(min=0).sqrt()
        z = noise.normal(x_t).flatten(1)[:, None]
        return self._assemble(share, at.gain * at.c + std * z).view_as(x_t)

    def _coordinates(self, x_t: Tensor, t: Number) -> Coordinates:
        alpha, sigma, _ = self.process.schedule.at(t)
        c = (x_t.flatten(1) @ self._axes).view(len(x_t), len(self.means), -1)
        alpha, sigma = expand(alpha, c), expand(sigma, c)
        variance = (alpha**2 * self._eigenvalues + sigma**2).clamp(min=SMALLEST)
        return Coordinates(c - alpha * self._means_on_axes, variance, alpha * self._eigenvalues / variance)

    def _log_joint(self, at: Coordinates, conditions: Conditions | None = None) -> Tensor:
        """log p(k, x_t), (batch, components); -inf for components other than the condition."""
        nats = -0.5 * (at.c**2 / at.variance + at.variance.log() + math.log(2 * math.pi))
        log_normal = nats @ nats.new_ones(nats.shape[-1])  # their sum, 10 times faster: rows are short
        log_joint = self._log_weights + log_normal
        if conditions is None:
            return log_joint
        ((component, present),) = conditions.entries.values()
        others = present[:, None] & (component[:, None] != torch.arange(len(self.means), device=component.device))
        return log_joint.masked_fill(others, -math.inf)

    def _assemble(self, share: Tensor, c: Tensor) -> Tensor:
        """sum_k share_k (m_k + V_k c_k), (batch, size)."""
        return share @ self.means.flatten(1) + self._back(share[..., None] * c)

    def _back(self, c: Tensor) -> Tensor:
        """sum_k V_k c_k, (batch, components, size) -> (batch, size)."""
        return c.flatten(1) @ self._axes.T

    def _pick(self, log_share: Tensor, noise: Noise) -> Tensor:
        """One component for each sample, as shares that are 0 or 1."""
        which = Discrete(log_share).sample(noise)
        return torch.nn.functional.one_hot(which, len(self.means)).to(self.means)

    @cached_property
    def _log_weights(self) -> Tensor:
        return (self.weights / self.weights.sum()).log()

    @cached_property
    def _eigen(self) -> tuple[Tensor, Tensor]:
        """(components, size) and (components, size, size), computed in float64 on the CPU."""
        values, vectors = torch.linalg.eigh(self.covariances.cpu().double())
        return values.clamp(min=0).to(self.means), vectors.to(self.means)

    @property
    def _eigenvalues(self) -> Tensor:
        return self._eigen[0]

    @cached_property
    def _axes(self) -> Tensor:
        """All V side by side, (size, components size): one matrix product for all components."""
        return self._eigen[1].transpose(0, 1).flatten(1).contiguous()

    @cached_property
    def _means_on_axes(self) -> Tensor:
        return torch.einsum("kd,kde->ke", self.means.flatten(1), self._eigen[1])


def _softmax(log_joint: Tensor) -> Tensor:
    """Over the components, (batch, components); along short rows torch takes four times as long."""
    return log_joint.T.contiguous().softmax(0).T
