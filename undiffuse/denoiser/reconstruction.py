"""Guidance by what is seen of the data: y = A x_0 + noise of deviation s, with A a linear operator.

By Bayes' rule the score given y is the score plus grad log p(y | x_t). Were x_0 given x_t normal, with the denoiser's
mean D and a covariance C, then p(y | x_t) = N(A D, A C A^T + s^2 I), and with J the derivative of D

    E[x_0 | x_t, y] = D + sigma^2/alpha J^T A^T u,        (A C A^T + s^2 I) u = y - A D.

So this is a denoiser too, for any sampler, and needs no training. What is left to choose is C:

- `Even`        A C A^T = (sigma/alpha)^2/w I: reconstruction guidance of weight w (Ho et al. 2022, section 3.1)
- `Isotropic`   C = sigma^2 v/(alpha^2 v + sigma^2) I, that of data N(0, v I): PiGDM (Song et al. 2023, section 3.2),
                without their further factor on the gradient
- `Matched`     C = sigma^2/alpha J^T, which is cov[x_0 | x_t] itself for an exact denoiser: moment matching (Finzi et
                al. 2023; Boys et al. 2023; Rozet et al. 2024)

The last is exact for every Gaussian. u comes from conjugate gradients: one iteration where A C A^T is a multiple of I,
as for a mask, for means of pixels and for brightness under `Isotropic`; with `Matched` every one costs a further
derivative. Nothing is exact for data that is not normal; `benchmarks/inverse.py` says how far each is.

A network's derivative is wrong by a little, and where there is little but noise, sigma^2/alpha makes that much. So with
a network, `highest` ends guidance above a noise level at which x_t says hardly anything yet.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.linear import Number
from undiffuse.core.operator import Operator, conjugate_gradients
from undiffuse.denoiser.guidance import Conditional, on_mean
from undiffuse.process.affine import Affine, Belief
from undiffuse.process.schedule import Point

Pull = Callable[[Tensor], Tensor]  # v (batch, *shape) -> sigma^2/alpha J^T v


class Covariance(Protocol):
    """What is assumed of x_0 given x_t."""

    def seen(self, v: Tensor, operator: Operator, pull: Pull, at: Point, variance: float) -> Tensor:
        """A C A^T v, at this noise level, for data of this variance."""
        ...


@dataclass(frozen=True)
class Even:
    """The same for every entry of y, and the smaller the greater the ``weight``."""

    weight: float = 2.0

    def seen(self, v: Tensor, operator: Operator, pull: Pull, at: Point, variance: float) -> Tensor:
        """(sigma/alpha)^2/w v."""
        return (at.sigma / at.alpha) ** 2 / self.weight * v


@dataclass(frozen=True)
class Isotropic:
    """That of standard normal data."""

    def seen(self, v: Tensor, operator: Operator, pull: Pull, at: Point, variance: float) -> Tensor:
        """R^2 A A^T v."""
        r = at.sigma**2 * variance / (at.alpha**2 * variance + at.sigma**2)
        return r * operator(operator.adjoint(v))


@dataclass(frozen=True)
class Matched:
    """The denoiser's own."""

    def seen(self, v: Tensor, operator: Operator, pull: Pull, at: Point, variance: float) -> Tensor:
        """Sigma^2/alpha A J^T A^T v."""
        return operator(pull(operator.adjoint(v)))


@dataclass(frozen=True)
class Reconstruction:
    """A denoiser of data of which something is seen.

    Attributes:
        denoise: denoise(x_t, t, conditions), differentiable in x_t.
        process: Its process.
        operator: A, of data as it diffuses.
        y: What is seen, (batch, ...).
        deviation: s, that of the noise in y.
        covariance: C.
        iterations: Of conjugate gradients.
        highest: The noise level sigma/alpha above which nothing is guided.
    """

    denoise: Conditional
    process: Affine
    operator: Operator
    y: Tensor
    deviation: float
    covariance: Covariance
    iterations: int = 1
    highest: float = math.inf

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """The belief given y too; without it, where too little of the data is left. t is one number."""
        at = self.process.schedule.at(float(t))
        if at.alpha == 0 or at.sigma > self.highest * at.alpha:
            return self.denoise(x_t, t, conditions)
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            answer = self.denoise(x, t, conditions)
            mean = answer.mean if isinstance(answer, Belief) else answer

        def pull(v: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(mean, x, v.to(mean), retain_graph=True)
            return at.sigma**2 / at.alpha * pulled

        def seen(v: Tensor) -> Tensor:
            spread = self.covariance.seen(v, self.operator, pull, at, self.process.sigma_data**2)
            return spread + self.deviation**2 * v

        u = conjugate_gradients(seen, self.y - self.operator(mean.detach()), self.iterations)
        change = pull(self.operator.adjoint(u))
        return on_mean(detached(answer), lambda mean: mean + change)


def detached(answer: Any) -> Any:
    """The same belief without its derivatives."""
    if not isinstance(answer, Belief):
        return answer.detach()
    return Belief(answer.mean.detach(), answer.v.detach() if isinstance(answer.v, Tensor) else answer.v)
