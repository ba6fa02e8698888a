"""What a lost token becomes: kernels q(x_t | x_s) with transition matrix Q, applied without storing Q.

A token is unchanged at t with probability a(t); its kernel says what happens otherwise. A posterior needs only two
products with a vector over states, whose low cost makes K = 50,000 possible:

    forward    p -> p Q      the distribution of x_t, given that of x_s                       (a row times Q)
    backward   f -> Q f      E[f(x_t) | x_s] for every x_s; the likelihood of x_t if f is one-hot (Q times a column)

`Replace`    becomes any class, the mask, or either: cost K
`Neighbours` becomes a similar class, for classes in a space, such as words: cost K x neighbours x steps
`Ordinal`    becomes a near class, for classes in a row: see `undiffuse.process.ordinal`
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.distribution import log
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number


class Survival(NamedTuple):
    """The probability a(t) that a token is unchanged, and 1 - a(t), without cancellation; numbers or float64
    (batch,)."""

    keep: Number
    lose: Number


ALL, NOTHING = Survival(1.0, 0.0), Survival(0.0, 1.0)


class Kernel(Protocol):
    """q(x_t | x_s) over the classes of the data and ``extra`` states that only noise takes; composes over times."""

    @property
    def extra(self) -> int:
        """States after the classes: 1 with a mask, else 0."""
        ...

    def forward(self, probs: Tensor, s: Survival, t: Survival) -> Tensor:
        """Probabilities (batch, ..., states) at s -> those at t."""
        ...

    def backward(self, f: Tensor, s: Survival, t: Survival) -> Tensor:
        """f(x_t), (batch, ..., states) -> E[f(x_t) | x_s] for every x_s."""
        ...

    def log_bridge(self, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
        """log sum over x_0 of p(x_0) q(x_s | x_t, x_0), up to a constant for each entry: (batch, ..., states).

        ``belief`` p (batch, ..., states), ``x_t`` (batch, ...) int64.
        """
        ...


def by_products(kernel: Kernel, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
    """`Kernel.log_bridge` of any kernel, by two backward products and a forward one.

        sum_x0 p(x_0) q(x_s | x_t, x_0) = q(x_t | x_s) sum_x0 r(x_0) q(x_s | x_0),      r = p/q(x_t | x_0)

    where r = 0 for an x_0 that cannot lead to x_t.
    """
    here = F.one_hot(x_t, belief.shape[-1]).to(belief)
    likelihood = kernel.backward(here, ALL, t)  # q(x_t | x_0) for every x_0
    possible = likelihood > 0
    ratio = torch.where(possible, belief / torch.where(possible, likelihood, 1.0), 0.0)
    return log(kernel.backward(here, s, t) * kernel.forward(ratio, ALL, s))


@dataclass(frozen=True)
class Replace:
    """A lost token becomes the mask with probability ``mask``, else a uniformly random class; a mask stays.

    With u(t) = 1 - mask (1 - a(t)), the share that is not masked, a step s -> t does this to a token without mask:

        keeps it           with probability a_t/a_s
        masks it           1 - u_t/u_s = mask (a_s - a_t)/u_s
        draws it anew      u_t/u_s - a_t/a_s = (1 - mask)(a_s - a_t)/(u_s a_s)

    mask = 0 is multinomial diffusion (Hoogeboom et al. 2021, eq. 11), and with two classes the binomial diffusion of
    Sohl-Dickstein et al. 2015. mask = 1 is D3PM's absorbing state (Austin et al. 2021, A.2.2). mask = 0.9 is
    VQ-Diffusion's mask-and-replace (Gu et al. 2022, eq. 8), whose gamma-bar is mask (1 - a).
    """

    mask: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.mask <= 1:
            raise UserError(f"mask is the share of lost tokens that are masked, from 0 to 1, not {self.mask:g}")

    @property
    def extra(self) -> int:
        """The mask, if there is one."""
        return int(self.mask > 0)

    def forward(self, probs: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, mask = (column(share, probs) for share in self._shares(s, t))
        classes, masked = probs.split([probs.shape[-1] - self.extra, self.extra], -1)
        total = classes.sum(-1, keepdim=True)
        return torch.cat(
            [stay * classes + spread / classes.shape[-1] * total, masked + mask * total[..., : self.extra]], -1
        )

    def backward(self, f: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, mask = (column(share, f) for share in self._shares(s, t))
        classes, masked = f.split([f.shape[-1] - self.extra, self.extra], -1)
        elsewhere = spread * classes.mean(-1, keepdim=True) + mask * masked.sum(-1, keepdim=True)
        return torch.cat([stay * classes + elsewhere, masked], -1)

    log_bridge = by_products

    def _shares(self, s: Survival, t: Survival) -> tuple[Number, Number, Number]:
        """The shares of the tokens not masked at s that are kept, drawn anew, and masked by t."""
        lost, unmasked = t.lose - s.lose, 1 - self.mask * s.lose
        return t.keep / s.keep, (1 - self.mask) * lost / (unmasked * s.keep), self.mask * lost / unmasked


UNIFORM, ABSORBING = Replace(mask=0.0), Replace(mask=1.0)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Classes in a space: a token walks to similar classes, and is at last drawn anew from all classes.

    With probability a(t) a token has not been drawn anew by t. Until then it walks from class to class on the graph of
    ``edges``, ``walk`` steps on average for every unit of -log a(t). The walk and the drawing commute, so

        Q = r exp(-walk log(1/r) (I - P)) + (1 - r) 11^T/K,       r = a_t/a_s

    with P the matrix of one step, which is symmetric, so that the noise is uniform. D3PM's nearest neighbours (Austin
    et al. 2021, A.2.4) are the walk only, which never leaves a connected part of the graph. exp is a sum over the
    number of steps, which has a Poisson distribution:

        exp(-m (I - P)) = sum_k exp(-m + k log m - log k!) P^k,       m = walk log(1/r).

    Its probabilities are computed from their logarithms in float64, because exp(-m) alone soon underflows.

    Attributes:
        edges: (K, n) int64, the neighbours of each class; every edge is used in both directions.
        walk: Steps per unit of -log a, at least 0; the cost grows with it.
    """

    edges: Tensor
    walk: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.walk < math.inf:
            raise UserError(f"walk, the steps per unit of -log a, must be at least 0, not {self.walk:g}")

    @classmethod
    def of(cls, vectors: Tensor, neighbours: int = 8, walk: float = 4.0) -> Self:
        """The graph that joins each of ``vectors`` (K, width) to its ``neighbours`` nearest ones."""
        if not 0 < neighbours < len(vectors):
            raise UserError(f"of {len(vectors)} classes each has 1 to {len(vectors) - 1} neighbours, not {neighbours}")
        rows = torch.arange(len(vectors), device=vectors.device)
        found = []
        for part in rows.split(1024):
            distance = torch.cdist(vectors[part], vectors)
            distance[rows[: len(part)], part] = math.inf  # no class is its own neighbour
            found.append(distance.topk(neighbours, largest=False).indices)
        return cls(torch.cat(found), walk)

    @property
    def extra(self) -> int:
        """None: noise is any class."""
        return 0

    def forward(self, probs: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K x neighbours x steps. Q is symmetric."""
        logarithm = log_ratio(s, t)
        ratio = column(logarithm, probs).exp()
        mean = (-self.walk * logarithm).clamp(0.0, self.walk * LONGEST)
        most = float(mean.max())
        here, walked = probs, column((-mean).exp(), probs) * probs
        for step in range(1, math.ceil(most + 8 * math.sqrt(most) + 12)):
            here = self._step(here)
            chance = (torch.xlogy(step, mean) - mean - math.lgamma(step + 1)).exp()
            walked = walked + column(chance, probs) * here
        return ratio * walked + (1 - ratio) * probs.mean(-1, keepdim=True)

    backward = forward
    log_bridge = by_products

    def _step(self, probs: Tensor) -> Tensor:
        """p P with P = I + (A - D)/d: A the edges in both directions, D their number at each class, d the largest."""
        edges, n = self.edges.to(probs.device), self.edges.shape[1]
        flat = probs.reshape(-1, probs.shape[-1])
        there = flat[:, edges].sum(-1)  # along the edges of each class; ``back`` is against them
        back = torch.zeros_like(flat).index_add_(1, edges.flatten(), flat.repeat_interleave(n, 1))
        most = int(self._degrees.max())
        return ((there + back + flat * (most - self._degrees).to(probs)) / most).view_as(probs)

    @cached_property
    def _degrees(self) -> Tensor:
        """The number of edges at each class, out of it and into it, (K,) int64."""
        return torch.bincount(self.edges.flatten(), minlength=len(self.edges)) + self.edges.shape[1]


LONGEST = 40.0  # -log a beyond which the walk's share of Q is negligible


def column(value: Number, like: Tensor) -> Tensor:
    """A number, or one for each sample, in a shape that multiplies ``like`` (batch, ..., states)."""
    tensor = torch.as_tensor(value, dtype=torch.float64).to(like.device, like.dtype)
    return tensor.view(*tensor.shape, *[1] * (like.ndim - tensor.ndim)) if tensor.ndim else tensor


def log_ratio(s: Survival, t: Survival) -> Tensor:
    """log a_t/a_s, without cancellation where little is lost; at least -1000, so that it is finite."""
    lost = torch.as_tensor((t.lose - s.lose) / s.keep, dtype=torch.float64)
    return torch.log1p(-lost.clamp_max(1.0)).clamp_min(-1e3)  # rounding can exceed 1
