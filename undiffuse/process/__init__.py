"""How data is destroyed: from t = 0, the data, to t = 1, noise.

`affine`      x_t = alpha(t) x_0 + sigma(t) z: Gaussian diffusion, flows, Poisson flow
`categorical` tokens that stay or are lost; a `kernel` says what a lost token becomes
`mixed`       numbers beside tokens
`pinned`      a bridge: from data to other data
`schedule`    how fast: `curves` in closed form, `table` over discrete steps, `rescale`, `learned` from data
`radial`      the distribution of z

All have the same methods, so that ancestral sampling (`undiffuse.step.ancestral`) and the variational bound
(`undiffuse.theory.likelihood`) are each written once:

    corrupt(x_0, t, noise)      draws q(x_t | x_0)
    start(like, noise, t)       draws what sampling starts from
    marginal(x_0, t)            q(x_t | x_0), a distribution
    prior(like, t)              the distribution of x_t when x_0 is unknown
    posterior(x_t, x_0, t, s)   q(x_s | x_t, x_0), a distribution; x_0 is known, or a *belief* (a denoiser's output)
    decoder(x_t, x_0, t)        p(x_0 | x_t), the bound's last term
    require_fresh_noise()       raises an error if there is no such posterior
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.core.distribution import Distribution
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.process.affine import Affine, Belief
from undiffuse.process.categorical import Categorical
from undiffuse.process.curves import EDM, VP, Cosine, Fading, Flow, LogLinear, Sigmoid, SubVP
from undiffuse.process.dual import Dual
from undiffuse.process.hybrid import HybridNoise
from undiffuse.process.kernel import ABSORBING, UNIFORM, Kernel, Neighbours, Replace, Survival
from undiffuse.process.learned import Learned
from undiffuse.process.mixed import Mixed, MixedBelief
from undiffuse.process.ordinal import Ordinal
from undiffuse.process.pinned import Pinned, StoredRows
from undiffuse.process.radial import GaussianNoise, PoissonNoise
from undiffuse.process.rescale import Shifted, ZeroTerminal
from undiffuse.process.schedule import Point, Schedule
from undiffuse.process.table import (
    AlphaBars,
    CosineTable,
    DiscreteSchedule,
    Linear,
    ScaledLinear,
    SigmoidBetas,
    ZeroTerminalTable,
)


class Process(Protocol):
    """What samplers and bounds need of a process. A *belief* is what its denoisers return."""

    @property
    def schedule(self) -> Schedule:
        """Its noise schedule."""
        ...

    @property
    def guidable(self) -> bool:
        """Whether guides can combine two beliefs about it."""
        ...

    @property
    def discrete(self) -> bool:
        """Whether tokens diffuse, and nothing else."""
        ...

    @property
    def width(self) -> int:
        """How many numbers of memory each entry of a state takes."""
        ...

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Empty states (count, *shape): zeros of the type that diffuses."""
        ...

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t scaled to the standard deviation of the data, for pictures."""
        ...

    def level(self, t: float) -> str:
        """The noise level at a time, in words."""
        ...

    def time(self, share: float) -> float:
        """The time at which this share of the data is lost to noise; the inverse of `level`."""
        ...

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known."""
        ...

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """Further arguments of the denoiser that say which entries are known."""
        ...

    def settle(self, belief: Any, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> Any:
        """The belief, with x_0 in the place of what is known."""
        ...

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """Draws q(x_t | x_0)."""
        ...

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Draws what sampling starts from."""
        ...

    def marginal(self, x_0: Tensor, t: Number) -> Distribution:
        """q(x_t | x_0)."""
        ...

    def prior(self, like: Tensor, t: float = 1.0) -> Distribution:
        """The distribution of x_t when x_0 is unknown."""
        ...

    def posterior(self, x_t: Tensor, x_0: Any, t: float, s: float) -> Distribution:
        """q(x_s | x_t, x_0), x_0 known or believed."""
        ...

    def decoder(self, x_t: Tensor, x_0: Any, t: float) -> Distribution:
        """p(x_0 | x_t)."""
        ...

    def require_fresh_noise(self) -> None:
        """Raises UserError if steps cannot add noise, because there is no posterior to draw from."""
        ...


__all__ = [
    "ABSORBING",
    "EDM",
    "UNIFORM",
    "VP",
    "Affine",
    "AlphaBars",
    "Belief",
    "Categorical",
    "Cosine",
    "CosineTable",
    "DiscreteSchedule",
    "Dual",
    "Fading",
    "Flow",
    "GaussianNoise",
    "HybridNoise",
    "Kernel",
    "Learned",
    "Linear",
    "LogLinear",
    "Mixed",
    "MixedBelief",
    "Neighbours",
    "Ordinal",
    "Pinned",
    "Point",
    "PoissonNoise",
    "Process",
    "Replace",
    "ScaledLinear",
    "Schedule",
    "Shifted",
    "Sigmoid",
    "SigmoidBetas",
    "StoredRows",
    "SubVP",
    "Survival",
    "ZeroTerminal",
    "ZeroTerminalTable",
]
