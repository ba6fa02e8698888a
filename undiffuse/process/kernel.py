"""How a token is lost: kernels q(x_t | x_s), never as a matrix.

A process keeps a token untouched until t with probability a(t); what else may happen is its kernel's. All that a
posterior needs of it are two products with a vector over states, and their cost is what makes K = 50,000 possible:

    forward    law -> law Q      the law of x_t, of that of x_s                                 (a row times Q)
    backward   f -> Q f          E[f(x_t) | x_s], by x_s: of a one-hot f, the likelihood of x_t   (Q times a column)

`Replace`    by any class, by the mask, or by either: cost K
`Neighbours` by a class like it, for classes that lie in a space, such as words: cost K x neighbours
`Ordinal`    by a class near it, for classes in a row: see `undiffuse.process.ordinal`
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
    """What is untouched at a time, a(t), and 1 - a(t), known without cancellation; numbers or float64 (batch,)."""

    keep: Number
    lose: Number


ALL, NOTHING = Survival(1.0, 0.0), Survival(0.0, 1.0)


class Kernel(Protocol):
    """q(x_t | x_s) over the classes of the data and ``extra`` states that only noise takes; composes over times."""

    @property
    def extra(self) -> int:
        """States after the classes: 1 with a mask, else 0."""
        ...

    def forward(self, law: Tensor, s: Survival, t: Survival) -> Tensor:
        """Law (batch, ..., states) at s -> law at t."""
        ...

    def backward(self, f: Tensor, s: Survival, t: Survival) -> Tensor:
        """f (batch, ..., states) of x_t -> its expectation given x_s."""
        ...

    def log_bridge(self, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
        """log sum over x_0 of p(x_0) q(x_s | x_t, x_0), but for a constant an entry: (batch, ..., states).

        ``belief`` p (batch, ..., states), ``x_t`` (batch, ...) int64.
        """
        ...


def by_products(kernel: Kernel, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
    """`Kernel.log_bridge` of any kernel: a backward product for each likelihood, and a forward one.

        sum_x0 p(x_0) q(x_s | x_t, x_0) = q(x_t | x_s) sum_x0 r(x_0) q(x_s | x_0),      r = p/q(x_t | x_0)

    where r = 0 for an x_0 that could not have led to x_t.
    """
    here = F.one_hot(x_t, belief.shape[-1]).to(belief)
    likelihood = kernel.backward(here, ALL, t)  # q(x_t | x_0), by x_0
    possible = likelihood > 0
    ratio = torch.where(possible, belief / torch.where(possible, likelihood, 1.0), 0.0)
    return log(kernel.backward(here, s, t) * kernel.forward(ratio, ALL, s))


@dataclass(frozen=True)
class Replace:
    """A lost token becomes the mask, with probability ``mask``, else any class, equally likely; a mask stays.

    With u(t) = 1 - mask (1 - a(t)), the share not masked, a step s -> t

        keeps      a_t/a_s       of the tokens
        masks      1 - u_t/u_s = mask (a_s - a_t)/u_s
        and makes  u_t/u_s - a_t/a_s = (1 - mask)(a_s - a_t)/(u_s a_s)  of them any class.

    mask 0 is multinomial diffusion (Hoogeboom et al. 2021, eq. 11), with two classes the binomial diffusion of
    Sohl-Dickstein et al. 2015; 1 is D3PM's absorbing state (Austin et al. 2021, A.2.2); 0.9 is VQ-Diffusion's
    mask-and-replace (Gu et al. 2022, eq. 8), whose gamma-bar is mask (1 - a).
    """

    mask: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.mask <= 1:
            raise UserError(f"mask is the share of lost tokens that are masked, from 0 to 1, not {self.mask:g}")

    @property
    def extra(self) -> int:
        """The mask, if there is one."""
        return int(self.mask > 0)

    def forward(self, law: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, hide = (column(share, law) for share in self._shares(s, t))
        classes, masked = law.split([law.shape[-1] - self.extra, self.extra], -1)
        total = classes.sum(-1, keepdim=True)
        return torch.cat(
            [stay * classes + spread / classes.shape[-1] * total, masked + hide * total[..., : self.extra]], -1
        )

    def backward(self, f: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K."""
        stay, spread, hide = (column(share, f) for share in self._shares(s, t))
        classes, masked = f.split([f.shape[-1] - self.extra, self.extra], -1)
        elsewhere = spread * classes.mean(-1, keepdim=True) + hide * masked.sum(-1, keepdim=True)
        return torch.cat([stay * classes + elsewhere, masked], -1)

    log_bridge = by_products

    def _shares(self, s: Survival, t: Survival) -> tuple[Number, Number, Number]:
        """Of the tokens that are not masked at s: kept, made any class, masked on the way to t."""
        lost, unmasked = t.lose - s.lose, 1 - self.mask * s.lose
        return t.keep / s.keep, (1 - self.mask) * lost / (unmasked * s.keep), self.mask * lost / unmasked


UNIFORM, ABSORBING = Replace(mask=0.0), Replace(mask=1.0)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Classes in a space: a lost token walks to classes like it, and at last becomes any class.

    Until its first ``jump``, which comes at the rate that 1 - a(t) says, a token walks from class to class over the
    graph of ``edges``, ``walk`` steps for every unit of -log a(t). In eigenvectors both commute, so

        Q = r exp(-walk log(1/r) (I - P)) + (1 - r) 11^T/K,       r = a_t/a_s

    with P the walk, symmetric, whence uniform noise (D3PM's nearest neighbours, Austin et al. 2021, A.2.4; theirs is
    the walk alone, which never leaves an island of the graph). exp is summed as the Poisson law over numbers of steps,

        exp(-m (I - P)) = sum_k exp(-m + k log m - log k!) P^k,       m = walk log(1/r)

    its probabilities by their logarithms, in float64: exp(-m) alone would soon be 0.

    Attributes:
        edges: (K, n) int64, the classes next to each; made symmetric by counting each edge both ways.
        walk: Steps per unit of -log a, at least 0; the cost grows as it does.
    """

    edges: Tensor
    walk: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.walk < math.inf:
            raise UserError(f"walk is how many steps a token takes per unit of -log a, at least 0, not {self.walk:g}")

    @classmethod
    def of(cls, vectors: Tensor, neighbours: int = 8, walk: float = 4.0) -> Self:
        """The graph of the ``neighbours`` nearest classes by distance, of ``vectors`` (K, width)."""
        if not 0 < neighbours < len(vectors):
            raise UserError(f"of {len(vectors)} classes each has 1 to {len(vectors) - 1} neighbours, not {neighbours}")
        rows = torch.arange(len(vectors), device=vectors.device)
        found = []
        for part in rows.split(1024):
            distance = torch.cdist(vectors[part], vectors)
            distance[rows[: len(part)], part] = math.inf  # to itself
            found.append(distance.topk(neighbours, largest=False).indices)
        return cls(torch.cat(found), walk)

    @property
    def extra(self) -> int:
        """None: noise is any class."""
        return 0

    def forward(self, law: Tensor, s: Survival, t: Survival) -> Tensor:
        """Cost K x neighbours x steps. Q is symmetric."""
        logarithm = log_ratio(s, t)
        ratio = column(logarithm, law).exp()
        mean = (-self.walk * logarithm).clamp(0.0, self.walk * LONGEST)
        most = float(mean.max())
        here, walked = law, column((-mean).exp(), law) * law
        for step in range(1, math.ceil(most + 8 * math.sqrt(most) + 12)):
            here = self._step(here)
            chance = (torch.xlogy(step, mean) - mean - math.lgamma(step + 1)).exp()
            walked = walked + column(chance, law) * here
        return ratio * walked + (1 - ratio) * law.mean(-1, keepdim=True)

    backward = forward
    log_bridge = by_products

    def _step(self, law: Tensor) -> Tensor:
        """Law P, P = I + (A - D)/d: edges each way A, their number at each class D, at most d; the others stay."""
        edges, n = self.edges.to(law.device), self.edges.shape[1]
        flat = law.reshape(-1, law.shape[-1])
        there = flat[:, edges].sum(-1)  # from the classes that x calls its neighbours
        back = torch.zeros_like(flat).index_add_(1, edges.flatten(), flat.repeat_interleave(n, 1))
        most = int(self._degrees.max())
        return ((there + back + flat * (most - self._degrees).to(law)) / most).view_as(law)

    @cached_property
    def _degrees(self) -> Tensor:
        """Edges at each class, those that it calls and those that call it, (K,) int64."""
        return torch.bincount(self.edges.flatten(), minlength=len(self.edges)) + self.edges.shape[1]


LONGEST = 40.0  # -log a beyond which nothing of a walk is left


def column(value: Number, like: Tensor) -> Tensor:
    """A number, or one a sample, ready to multiply ``like`` (batch, ..., states)."""
    tensor = torch.as_tensor(value, dtype=torch.float64).to(like.device, like.dtype)
    return tensor.view(-1, *[1] * (like.ndim - 1)) if tensor.ndim else tensor


def log_ratio(s: Survival, t: Survival) -> Tensor:
    """log a_t/a_s, without cancellation where little is lost; -inf becomes a number below any that matters."""
    lost = torch.as_tensor((t.lose - s.lose) / s.keep, dtype=torch.float64)
    return torch.log1p(-lost.clamp_max(1.0)).clamp_min(-1e3)  # rounding takes it beyond 1
