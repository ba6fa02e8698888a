"""How data is destroyed: from t = 0, the data, to t = 1, noise.

`affine`      x_t = alpha(t) x_0 + sigma(t) z: Gaussian diffusion, flows, Poisson flow
`categorical` tokens that are kept, or lost, in the way of a `kernel`
`mixed`       numbers beside tokens
`schedule`    how fast: `curves` in closed form, `table` over discrete steps, `rescale`, `learned` from data
`radial`      the law of z

All speak the same small language, so that ancestral sampling (`step.ancestral`) and the variational bound
(`likelihood`) are each written once, over

    corrupt(x_0, t, noise)      draws q(x_t | x_0)
    start(like, noise, t)       draws what sampling starts from
    marginal(x_0, t)            q(x_t | x_0) as a law
    prior(like, t)              what x_t looks like before anything is known, as a law
    posterior(x_t, x_0, t, s)   q(x_s | x_t, x_0) as a law, x_0 known or *believed* (a denoiser's output)
    decoder(x_t, x_0, t)        p(x_0 | x_t), with which the bound ends
    require_fresh_noise()       refuses where there is no such posterior
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
from undiffuse.process.kernel import ABSORBING, UNIFORM, Kernel, Neighbours, Replace, Survival
from undiffuse.process.learned import Learned
from undiffuse.process.mixed import Mixed, MixedBelief
from undiffuse.process.ordinal import Ordinal
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
    """What a sampler or a bound may ask of a process. A *belief* is what its denoisers return."""

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
        """Numbers of memory that each entry of a state takes."""
        ...

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """States yet to be drawn, (count, *shape): zeros of the type that diffuses."""
        ...

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t with the spread of the data, to be looked at."""
        ...

    def level(self, t: float) -> str:
        """How much is lost at a time, in words."""
        ...

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known."""
        ...

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """What a denoiser is told of what is known, beside what it is shown."""
        ...

    def settle(self, belief: Any, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> Any:
        """What is believed where x_0 is known."""
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
        """What x_t looks like before anything is known."""
        ...

    def posterior(self, x_t: Tensor, x_0: Any, t: float, s: float) -> Distribution:
        """q(x_s | x_t, x_0), x_0 known or believed."""
        ...

    def decoder(self, x_t: Tensor, x_0: Any, t: float) -> Distribution:
        """p(x_0 | x_t)."""
        ...

    def require_fresh_noise(self) -> None:
        """Raises UserError where no step may draw noise of its own, as there is no posterior to draw from."""
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
    "Fading",
    "Flow",
    "GaussianNoise",
    "Kernel",
    "Learned",
    "Linear",
    "LogLinear",
    "Mixed",
    "MixedBelief",
    "Neighbours",
    "Ordinal",
    "Point",
    "PoissonNoise",
    "Process",
    "Replace",
    "ScaledLinear",
    "Schedule",
    "Shifted",
    "Sigmoid",
    "SigmoidBetas",
    "SubVP",
    "Survival",
    "ZeroTerminal",
    "ZeroTerminalTable",
]
