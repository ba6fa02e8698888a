"""Losses of a denoiser of tokens: the variational bound in nats per token, and close relatives.

    loss(denoiser, x_0, noise, conditions=None) -> losses (batch,),          x_0 (batch, *shape) int64

`TokenBound`    T steps, any kernel: exact terms, one step for each sample (D3PM; multinomial diffusion)
`MaskedBound`   infinitely many steps, the mask only: a weighted cross-entropy (MDLM)
`Unrolled`      no bound: the denoiser's own draws are denoised again (SUNDAE)
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
from undiffuse.loss.time import TimeDistribution, Uniform, log_snr_decay
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import ABSORBING


@dataclass(frozen=True)
class TokenBound(Loss[TokenDenoiser]):
    """The bound on T steps, for any kernel, plus ``auxiliary`` times the cross-entropy of x_0.

    T KL(q(x_s | x_t, x_0) || p(x_s | x_t)), t = i/T, s = t - 1/T, for one i drawn for each sample. At s = 0 the KL is
    -log p(x_0 | x_t), the bound's last term. Its first term, KL(q(x_1 | x_0) || prior), does not depend on the network
    and is left out. ``time`` sets T; with `Importance(bins=T, discrete=True)` it is Hoogeboom et al. 2021's.

    D3PM's weight of the auxiliary term is .001 for pictures and .01 for text. In its formula this weight stands beside
    the whole bound, as here (Austin et al. 2021, eq. 5); in its code it stands beside the KL of one step, without the
    factor T. So the ``auxiliary`` that matches its code is T times larger: 1 and 10 for T = 1000. VQ-Diffusion's 5e-4
    (Gu et al. 2022) stands beside the KL of one step too: .05 here for its T = 100, and its code raises it to twice
    that towards the data. With the default, .01, the loss is nearly the bound.
    """

    time: TimeDistribution = field(default_factory=lambda: Uniform(steps=1000, draws=LowDiscrepancy()))
    auxiliary: float = 0.01

    def __post_init__(self) -> None:
        if self.time.steps is None:
            raise UserError(f"the bound on T steps needs discrete times: set time.steps, not {self.time}")
        if self.auxiliary < 0:
            raise UserError(f"auxiliary, a weight, must be at least 0, not {self.auxiliary:g}")

    def check(self, denoiser: TokenDenoiser) -> None:
        """Raises UserError for a network of blocks."""
        _require_all_at_once(denoiser)

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
    """The bound on infinitely many steps for the mask: the integral of -a'(t)/(1 - a(t)) x cross-entropy at the masks.

    With a(t) = 1 - t (`Fading`) the weight is 1/t; every schedule gives the same integral (Sahoo et al. 2024, eq. 10).
    For the exact denoiser it equals the entropy of the data: tokens that are revealed one by one lose nothing.

    Of a network of blocks it is the sum over blocks, each with masks of its own and given the blocks before it: one
    pass over noisy and clean tokens (Arriola et al. 2025, eq. 8). ``rates`` are the least and the most share of masks
    that training draws; less than all, (0, 1), have less variance, and make no bound (their section 4.3). For blocks of
    one token it is the likelihood itself.
    """

    time: Uniform = field(default_factory=lambda: Uniform(draws=LowDiscrepancy()))
    rates: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.time.steps is not None:
            raise UserError(f"the masked bound needs continuous times: unset time.steps, not {self.time}")
        if not 0 <= self.rates[0] <= self.rates[1] <= 1 or self.rates[1] == 0:
            raise UserError(f"rates are the least and the most share of masks, within 0 and 1, not {self.rates}")

    def check(self, denoiser: TokenDenoiser) -> None:
        """Raises UserError for any other kernel than the mask, and for blocks where not all times are meant."""
        if denoiser.block is not None and self.time.start:
            raise UserError("of blocks the bound is over all numbers of masks; leave --loss.time.start out")
        if denoiser.process.kernel != ABSORBING:
            raise UserError("the masked bound is of masks alone; choose --kernel.mask 1, or --loss token-bound")

    def __call__(
        self, denoiser: TokenDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Unbiased estimates of the bound, (batch,) nats per token. Raises UserError as `check` does."""
        self.check(denoiser)
        process = denoiser.process
        if denoiser.block is not None:
            return self._of_blocks(denoiser, x_0, denoiser.block, noise, conditions)
        t, weight = self._drawn(len(x_0), noise, process)
        x_t = process.corrupt(x_0, t, noise)
        missing = cross_entropy(denoiser(x_t, t, conditions).float(), x_0)
        return (missing * (x_t == process.classes).flatten(1)).mean(1) * weight.to(missing)

    def _of_blocks(
        self, denoiser: TokenDenoiser, x_0: Tensor, block: int, noise: Noise, conditions: Conditions | None
    ) -> Tensor:
        """The same, with a number of masks for each block: k of its b tokens, k = 1 ... b, each of weight b/k.

        That is the mean over times of all draws with k masks: the integral of t^(k-1) (1 - t)^(b-k) is (1/b) (b/k) over
        the number of such draws. So it is the same bound, of less variance, and no block is without a mask.
        """
        blocks = x_0.shape[1] // block
        low, high = self.rates
        u = low + (high - low) * self.time.draws(blocks * len(x_0), noise)
        count = (u * block).ceil().clamp_min(1).to(x_0.device).view(-1, blocks).repeat_interleave(block, 1)
        order = noise.uniform(x_0.double()).view(-1, blocks, block).argsort(2).argsort(2).flatten(1)
        masked = order < count
        x_t = x_0.masked_fill(masked, denoiser.process.classes)
        missing = cross_entropy(denoiser.beside(x_t, x_0, conditions).float(), x_0)
        return (missing * masked * (block / count).to(missing)).mean(1)

    def _drawn(self, count: int, noise: Noise, process: Categorical) -> tuple[Tensor, Tensor]:
        """Times and their weights, (count,)."""
        t = self.time.sample(count, noise, process.schedule)
        if self.rates != (0.0, 1.0):
            low, high = self.rates
            share = low + (high - low) * t
            return process.schedule.time((1 - share).log() - share.log()), 1 / share
        keep = process.survival(t).keep
        return t, keep * log_snr_decay(process.schedule, t) / self.time.density(t, process.schedule)


@dataclass(frozen=True)
class Unrolled(Loss[TokenDenoiser]):
    """SUNDAE's: the mean cross-entropy of x_0 over ``unrolls`` passes, each given what the denoiser drew in the last.

    The first pass is given x_t. This is no bound on any likelihood. No gradient passes through the draws: the denoiser
    learns to repair its own mistakes (Savinov et al. 2022, eq. 3). With `UNIFORM` and `Fading` the share of random
    tokens is uniform on [0, 1], as in the paper.
    """

    unrolls: int = 2
    time: Uniform = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        if self.unrolls < 1:
            raise UserError(f"unrolls must be at least 1, not {self.unrolls}")

    def check(self, denoiser: TokenDenoiser) -> None:
        """Raises UserError for a network of blocks."""
        _require_all_at_once(denoiser)

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
    """-log p(x_0) under logits (batch, *shape, classes): (batch, tokens) nats."""
    return F.cross_entropy(logits.flatten(1, -2).mT, x_0.flatten(1), reduction="none")


def _require_all_at_once(denoiser: TokenDenoiser) -> None:
    if denoiser.block is not None:
        raise UserError("a network of blocks is trained by the masked bound; add --loss masked-bound")
