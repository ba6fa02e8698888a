"""What a denoiser of tokens is trained to do: the variational bound, in nats per token, or what comes near it.

    loss(denoiser, x_0, noise, conditions=None) -> losses (batch,),          x_0 (batch, *shape) int64

`TokenBound`    T steps, any kernel: exact terms, a step a sample (D3PM; multinomial diffusion)
`MaskedBound`   infinitely many steps, for the mask: a weighted cross-entropy (MDLM)
`Unrolled`      no bound: what the denoiser itself says is denoised once more (SUNDAE)
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import TimeDistribution, Uniform, fall
from undiffuse.process.kernel import ABSORBING


@dataclass(frozen=True)
class TokenBound(Loss[TokenDenoiser]):
    """The bound on T steps, for any kernel, plus ``auxiliary`` times the cross-entropy of x_0.

    T KL(q(x_s | x_t, x_0) || p(x_s | x_t)), t = i/T, s = t - 1/T, by one i a sample. At s = 0 the KL is
    -log p(x_0 | x_t), which is the bound's last term; its first, KL(q(x_1 | x_0) || prior), no network changes. T is
    the law of t's; `Importance(bins=T, discrete=True)` is Hoogeboom et al. 2021's.

    D3PM's weight of the auxiliary term is .001 for pictures and .01 for text: in its formula beside the whole bound, as
    here (Austin et al. 2021, eq. 5), but in its code beside one step's KL, not T times that. So ``auxiliary`` is T
    times theirs: with T = 1000, 1 and 10. VQ-Diffusion's 5e-4 (Gu et al. 2022) is beside one step's KL too: with its
    T = 100, .05 here, which its code lets rise to twice that towards the data. The default, .01, is nearly the bound.
    """

    time: TimeDistribution = field(default_factory=lambda: Uniform(steps=1000, draws=LowDiscrepancy()))
    auxiliary: float = 0.01

    def __post_init__(self) -> None:
        if self.time.steps is None:
            raise UserError(f"a bound of steps needs discrete times: time with steps, not {self.time}")
        if self.auxiliary < 0:
            raise UserError(f"auxiliary, a weight, must be at least 0, not {self.auxiliary:g}")

    def __call__(
        self, denoiser: TokenDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Estimates of the bound less its first term, unbiased for auxiliary 0: (batch,) nats per token."""
        process, steps = denoiser.process, self.time.steps or 1
        t = self.time.sample(len(x_0), noise, process.schedule)
        s = ((t * steps).round() - 1) / steps
        x_t = process.corrupt(x_0, t, noise)
        logits = denoiser(x_t, t, conditions).float()
        step = process.posterior(x_t, x_0, t, s).kl(process.posterior(x_t, logits, t, s)) / x_0[0].numel()
        sampled = step * (steps / self.time.density(t, process.schedule)).to(step)
        if denoiser.training:
            self.time.update(t, sampled, process.schedule)
        return sampled + self.auxiliary * cross_entropy(logits, x_0).mean(1) if self.auxiliary else sampled


@dataclass(frozen=True)
class MaskedBound(Loss[TokenDenoiser]):
    """The bound of infinitely many steps for the mask: the integral of -a'(t)/(1 - a(t)) x cross-entropy at the masks.

    With a(t) = 1 - t (`Fading`) the weight is 1/t: any schedule gives the same integral (Sahoo et al. 2024, eq. 10).
    The exact denoiser's is the entropy of the data, exactly: tokens that are revealed one by one lose nothing.
    """

    time: Uniform = field(default_factory=lambda: Uniform(draws=LowDiscrepancy()))

    def __post_init__(self) -> None:
        if self.time.steps is not None:
            raise UserError(f"the masked bound is of continuous times: time without steps, not {self.time}")

    def check(self, denoiser: TokenDenoiser) -> None:
        """Raises UserError for any other kernel than the mask."""
        if denoiser.process.kernel != ABSORBING:
            raise UserError("the masked bound is of masks alone; choose --kernel.mask 1, or --loss token-bound")

    def __call__(
        self, denoiser: TokenDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Unbiased estimates of the bound, (batch,) nats per token. Raises UserError as `check` does."""
        self.check(denoiser)
        process = denoiser.process
        t = self.time.sample(len(x_0), noise, process.schedule)
        x_t = process.corrupt(x_0, t, noise)
        missing = cross_entropy(denoiser(x_t, t, conditions).float(), x_0)
        weight = process.kept(t).keep * fall(process.schedule, t) / self.time.density(t, process.schedule)
        return (missing * (x_t == process.classes).flatten(1)).mean(1) * weight.to(missing)


@dataclass(frozen=True)
class Unrolled(Loss[TokenDenoiser]):
    """SUNDAE's: the cross-entropy of x_0 given x_t, given what the denoiser draws of that, and so on ``unrolls`` times.

    No bound on any likelihood, and no gradient through the draws: the denoiser learns to repair its own mistakes
    (Savinov et al. 2022, eq. 3). With `UNIFORM` and `Fading`, the share of random tokens is uniform, as theirs.
    """

    unrolls: int = 2
    time: Uniform = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        if self.unrolls < 1:
            raise UserError(f"unrolls must be at least 1, not {self.unrolls}")

    def __call__(
        self, denoiser: TokenDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,), nats per token."""
        t = self.time.sample(len(x_0), noise, denoiser.process.schedule)
        x = denoiser.process.corrupt(x_0, t, noise)
        losses = []
        for _ in range(self.unrolls):
            logits = denoiser(x, t, conditions).float()
            losses.append(cross_entropy(logits, x_0).mean(1))
            x = Discrete(logits.detach().log_softmax(-1)).sample(noise)
        return torch.stack(losses).mean(0)


def cross_entropy(logits: Tensor, x_0: Tensor) -> Tensor:
    """-log p(x_0) by logits (batch, *shape, classes): (batch, tokens) nats."""
    return F.cross_entropy(logits.flatten(1, -2).mT, x_0.flatten(1), reduction="none")
