"""The bound on infinitely many steps for any kernel: how far the denoiser's rates of jumps are from the right ones.

Backwards in time a token jumps from x_t to y at the rate r(y) that x_0 implies; the denoiser implies r_p(y), its mean
over what is believed of x_0. In a short time both are Poisson, and the path's KL is theirs, moment by moment:

    -log p(x_0) <= integral over t of E sum over y of  r_p(y) - r(y) + r(y) log(r(y)/r_p(y))

(Campbell et al. 2022, proposition 2). Of masks it is `MaskedBound`, of uniform noise the bound of Duo (Sahoo et al.
2025, eq. 9) and of hybrid noise that of GIDD (von Ruette et al. 2025, eq. 8). For the exact denoiser it equals the
entropy of the data, whatever the noise.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import Uniform
from undiffuse.process.categorical import Categorical

MOMENT = 1e-4  # the share of t over which rates are measured
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class RateBound(Loss[TokenDenoiser]):
    """One time for each sample, drawn from ``time``."""

    time: Uniform = field(default_factory=lambda: Uniform(draws=LowDiscrepancy()))

    def __post_init__(self) -> None:
        if self.time.steps is not None:
            raise UserError(f"the bound by rates needs continuous times: unset time.steps, not {self.time}")

    def check(self, denoiser: TokenDenoiser) -> None:
        """Raises UserError for a network of blocks."""
        if denoiser.block is not None:
            raise UserError("a network of blocks is trained by the masked bound; add --loss masked-bound")

    def __call__(
        self, denoiser: TokenDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Unbiased estimates of the bound less KL(q(x_1 | x_0) || prior), (batch,) nats per token."""
        self.check(denoiser)
        process = denoiser.process
        t = self.time.sample(len(x_0), noise, process.schedule)
        x_t = process.corrupt(x_0, t, noise)
        logits = denoiser(x_t, t, conditions).float()
        excess = divergence(process, x_t, x_0, logits, t)
        return excess / self.time.density(t, process.schedule).to(excess)


def divergence(process: Categorical, x_t: Tensor, x_0: Tensor, belief: Tensor, t: Number) -> Tensor:
    """The bound's integrand: of the belief's rates from those of x_0, (batch,) nats per token and unit of time."""
    right, said = (process.rates(x_t, one, t, MOMENT * t) for one in (x_0, belief))
    ratio = right.clamp_min(TINY).log() - said.clamp_min(TINY).log()
    return (said - right + right * ratio).sum(-1).flatten(1).mean(1)
