"""The loss of a bridge whose pairs are given by a coupling: flow matching, stochastic interpolants, SB-CFM, I2SB.

    L = E |y(x_t, t) - y|^2,    x_t on the Brownian bridge from x_0 to x_1,    (x_0, x_1) as the coupling has them

with y the ways to both ends (`undiffuse.denoiser.bridge`). Its minimiser is E[x_0 | x_t] and E[x_1 | x_t], whatever the
coupling. What these names share, and where they differ:

    flow matching              sigma = 0          independent pairs (Lipman et al. 2023; Liu et al. 2022)
    alpha-deblending           sigma = 0          independent pairs, Euler's steps (Heitz et al. 2023)
    optimal transport          sigma = 0          pairs of least cost in a batch (Pooladian et al. 2023)
    stochastic interpolants    sigma = 1          independent pairs (Albergo et al. 2023)
    SB-CFM                     sigma > 0          pairs of the entropic plan (Tong et al. 2024)
    I2SB                       sigma > 0          the pairs of the data (Liu et al. 2023)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.linear import scale
from undiffuse.core.modules import built
from undiffuse.core.noise import Noise
from undiffuse.denoiser.bridge import BridgeDenoiser, Ends
from undiffuse.loss.coupling import AsGiven, Coupling
from undiffuse.loss.denoising import mean
from undiffuse.loss.time import TimeDistribution, Uniform
from undiffuse.process.pinned import Pinned, way


class BridgeLoss(ABC):
    """A method: loss.begin(denoiser, steps)(denoiser, x_0, x_1, noise, conditions) -> losses (batch,), of pairs as its
    coupling makes them.

    Attributes:
        staged: Whether what it asks for changes over the training, by the number of its steps.
    """

    staged: ClassVar[bool] = True

    @property
    def pairs(self) -> Coupling:
        """The coupling: as the rows come."""
        return AsGiven()

    @property
    def most(self) -> int | None:
        """The most evaluations that a sample may take; None is any number."""
        return None

    @abstractmethod
    def begin(self, denoiser: BridgeDenoiser, steps: int) -> Callable[..., Tensor]:
        """The loss of one training of so many steps: a module if the training changes it."""


@dataclass(frozen=True)
class Matching(BridgeLoss):
    """The mean over entries of the squared error of both ways, one t a pair.

    Attributes:
        coupling: Which x_1 goes with which x_0.
        time: At which times.
        antithetic: Whether each pair is used twice, with w and -w, of half the batch: the variance of a bridge's noise
            near its ends cancels (Albergo et al. 2023, section 6).
    """

    staged: ClassVar[bool] = False

    coupling: Coupling = field(default_factory=AsGiven)
    time: TimeDistribution = field(default_factory=Uniform)
    antithetic: bool = False

    @property
    def pairs(self) -> Coupling:
        """Its own."""
        return self.coupling

    def begin(self, denoiser: BridgeDenoiser, steps: int) -> "Matching":
        """The loss itself; parts of it that learn are built."""
        return built(self)

    def __call__(
        self, denoiser: BridgeDenoiser, x_0: Tensor, x_1: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,) of pairs, rows of both ends, (batch, *shape) each."""
        t = self.time.sample(len(x_0), noise, denoiser.process.schedule)
        process = denoiser.process
        if self.antithetic:
            half = (len(x_0) + 1) // 2
            x_0, x_1, t = x_0[:half], x_1[:half], t[:half]
            conditions = None if conditions is None else conditions[:half]
        x_t, w = process.between(x_0, x_1, t, noise)
        losses = error(denoiser, x_t, Ends(x_0, x_1), t, conditions)
        if not self.antithetic or w is None:
            return losses
        mirrored = 2 * process.mix(x_0, x_1, t) - x_t
        return 0.5 * (losses + error(denoiser, mirrored, Ends(x_0, x_1), t, conditions))


def error(denoiser: BridgeDenoiser, x_t: Tensor, ends: Ends, t: Tensor, conditions: Conditions | None = None) -> Tensor:
    """The mean squared error of the ways from x_t to the ends that it came from, (batch,), for t (batch,)."""
    said, wanted = denoiser.ways(x_t, t, conditions), targets(denoiser.process, x_t, ends, t)
    if denoiser.process.sigma == 0:
        return mean((said.x_1 - wanted.x_1) ** 2)
    return 0.5 * (mean((said.x_0 - wanted.x_0) ** 2) + mean((said.x_1 - wanted.x_1) ** 2))


def targets(process: Pinned, x_t: Tensor, ends: Ends, t: Tensor) -> Ends:
    """y_0 and y_1: the way to each end, in units of its root mean square."""
    to_0, to_1 = way(1 - t, process.sigma), way(t, process.sigma)
    return Ends(scale(1 / to_0, ends.x_0 - x_t), scale(1 / to_1, ends.x_1 - x_t))
