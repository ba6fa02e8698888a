"""Couplings: which x_1 goes with which x_0, within a batch.

A flow or a bridge is learned from pairs (x_0, x_1). The batch brings them as they come: independent of each other, or
paired if the data is. A coupling replaces each x_1 by another one of the batch.

    AsGiven             as they come
    OptimalTransport    the permutation of least cost, sum |x_0 - x_1|^2 (Pooladian et al. 2023; Tong et al. 2024)
    Entropic            drawn from the entropic plan: with a Brownian bridge of the same sigma between the pairs, the
                        Schroedinger bridge of the batch (Tong et al. 2024, SB-CFM)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise


class Coupling(ABC):
    """coupling(x_0, x_1, noise) -> for each row of x_0, which row of x_1 goes with it."""

    @abstractmethod
    def __call__(self, x_0: Tensor, x_1: Tensor, noise: Noise) -> Tensor:
        """(batch,) int64 of rows of x_1 (batch, *shape), for x_0 (batch, *shape)."""


@dataclass(frozen=True)
class AsGiven(Coupling):
    """The product of both distributions; or the pairs of the data, if it has them."""

    def __call__(self, x_0: Tensor, x_1: Tensor, noise: Noise) -> Tensor:
        """Row by row."""
        return torch.arange(len(x_0), device=x_0.device)


@dataclass(frozen=True)
class OptimalTransport(Coupling):
    """The permutation of least squared distance, exact.

    The plan between two batches of one size has a permutation among its optima, and the network simplex returns one. So
    every row is used once, where drawing pairs from the plan would leave out a share 1/e of them.
    """

    def __call__(self, x_0: Tensor, x_1: Tensor, noise: Noise) -> Tensor:
        """The row of x_1 that each row's mass goes to."""
        import ot

        mass = torch.full((len(x_0),), 1 / len(x_0), dtype=torch.float64).numpy()
        plan = ot.emd(mass, mass, squared_distances(x_0, x_1).cpu().double().numpy())
        return torch.from_numpy(plan.argmax(1)).to(x_0.device)


@dataclass(frozen=True)
class Entropic(Coupling):
    """A partner for each x_0, drawn from its row of the entropic plan.

    The plan minimises <P, |x_0 - x_1|^2> + eps KL(P | product) with eps = 2 ``sigma``^2: the ends of the Schroedinger
    bridge with a Brownian motion of that sigma (Leonard 2014). Each x_0 is used once; of the x_1 some more often, some
    not at all.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise UserError(f"an entropic coupling needs sigma above 0, not {self.sigma}; without, optimal-transport")

    def __call__(self, x_0: Tensor, x_1: Tensor, noise: Noise) -> Tensor:
        """Drawn by inversion of each row's cumulative probabilities."""
        cumulative = entropic_plan(squared_distances(x_0, x_1), 2 * self.sigma**2).cumsum(1)
        u = noise.uniform(cumulative[:, :1]) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, u, right=True)[:, 0].clamp_max(len(x_1) - 1)


def within(coupling: Coupling, x_0: Tensor, x_1: Tensor, noise: Noise, groups: Tensor | None = None) -> Tensor:
    """A coupling inside each group of rows, those of the same number in ``groups`` (batch,): rows of x_1, (batch,)."""
    if groups is None:
        return coupling(x_0, x_1, noise)
    rows = torch.empty(len(x_0), dtype=torch.int64, device=x_0.device)
    for group in groups.unique():
        these = torch.nonzero(groups == group)[:, 0]
        rows[these] = these[coupling(x_0[these], x_1[these], noise)]
    return rows


def squared_distances(x_0: Tensor, x_1: Tensor) -> Tensor:
    """|x_0 - x_1|^2 of every pair, (rows of x_0, rows of x_1)."""
    return torch.cdist(x_0.flatten(1), x_1.flatten(1)).square()


def entropic_plan(cost: Tensor, regularisation: float) -> Tensor:
    """The plan of least <P, cost> + regularisation KL(P | product), marginals uniform: Sinkhorn, in logarithms."""
    import ot

    mass, other = (torch.full((count,), 1 / count, dtype=cost.dtype, device=cost.device) for count in cost.shape)
    return ot.sinkhorn(mass, other, cost, regularisation, method="sinkhorn_log", stopThr=1e-6, warn=False)
