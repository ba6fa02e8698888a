"""Unmasking in an order: the surest places or draws first, or at the times at which the process reveals them.

All are for the mask kernel only, where each token is drawn once, and a sampler only decides when.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import ABSORBING

TINY = 2.0**-53


@dataclass(frozen=True)
class MostConfidentFirst:
    """All masked tokens are drawn, and the most confident draws stay, as many as the schedule reveals by s (MaskGIT).

    The confidence of a draw is its log-probability, plus ``randomness`` x (share still masked) x Gumbel noise, without
    which all samples look alike (Chang et al. 2022, section 3.2). This samples no process exactly: it favours likely
    samples.
    """

    process: Categorical
    randomness: float = 1.0

    def __post_init__(self) -> None:
        require_mask(self.process)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, in which a share (1 - a(s))/(1 - a(t)) of the masks of x_t is left, sample by sample."""
        masked = x_t == self.process.classes
        log_probs = denoise(x_t, t).double().log_softmax(-1)
        guess = Discrete(log_probs).sample(noise)
        hidden = float(self.process.survival(s).lose) if s > 0 else 0.0
        gumbel = -(-noise.uniform(guess.double()).clamp_min(TINY).log()).log()
        confidence = log_probs.gather(-1, guess[..., None])[..., 0] + self.randomness * hidden * gumbel
        stays = _least(confidence, masked, _left(self.process, masked, t, s))
        return torch.where(masked & ~stays, guess, x_t), None


@dataclass(frozen=True)
class MarginFirst:
    """First the places where the most likely token is furthest ahead of the next, as many as the schedule reveals by s.

    What is revealed is drawn from the belief, so with the exact denoiser and a step for each token this samples the law
    itself, as any order does that depends on x_t alone. A network errs less in this order: where several tokens are
    likely, it waits until others have decided (Kim et al. 2025, section 4.1).
    """

    process: Categorical

    def __post_init__(self) -> None:
        require_mask(self.process)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, in which a share (1 - a(s))/(1 - a(t)) of the masks of x_t is left, sample by sample."""
        masked = x_t == self.process.classes
        log_probs = denoise(x_t, t).double().log_softmax(-1)
        guess = Discrete(log_probs).sample(noise)
        first, second = log_probs.exp().topk(2, -1).values.unbind(-1)
        stays = _least(first - second, masked, _left(self.process, masked, t, s))
        return torch.where(masked & ~stays, guess, x_t), None


@dataclass(frozen=True)
class FirstHitting:
    """Token by token, each at the time at which the process reveals it (Zheng et al. 2024).

    Of n masks at time t the next is revealed at the time t' with 1 - a(t') = (1 - a(t)) u^(1/n), u uniform; it is each
    of them with equal probability. A step reveals one token, or more if otherwise the remaining steps would not
    suffice. With as many steps as tokens this samples the process exactly, without the error of steps in time. Memory:
    1 - a, sample by sample.
    """

    process: Categorical

    def __post_init__(self) -> None:
        require_mask(self.process)

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """x_t with some masks revealed: a share (t - s)/t of them, at least one. Each sample has its own time."""
        masked = (x_t == self.process.classes).flatten(1)
        lose = torch.full((len(x_t),), float(self.process.survival(t).lose)).double() if memory is None else memory
        left = masked.sum(1).cpu()
        u = noise.uniform(torch.empty(len(x_t), 1, dtype=torch.float64))[:, 0].clamp_min(TINY)
        lose = lose * u ** (1 / left.clamp_min(1))
        now = self.process.schedule.time(torch.log1p(-lose) - lose.log())
        belief = denoise(x_t, now)  # type: ignore[arg-type]  # one time for each sample
        guess = Discrete(belief.double().log_softmax(-1)).sample(noise)
        count = (left * ((t - s) / t)).round().clamp_min(1)
        order = torch.where(masked, noise.uniform(guess.double()).flatten(1), 2.0).argsort(1).argsort(1)
        revealed = masked & (order < count[:, None].to(x_t.device))
        return torch.where(revealed.view_as(x_t), guess, x_t), lose * (left - count + 1) / left.clamp_min(1)


def _left(process: Categorical, masked: Tensor, t: float, s: float) -> Tensor:
    """How many masks of each sample are left at s, (batch, 1)."""
    hidden = float(process.survival(s).lose) if s > 0 else 0.0
    return (masked.flatten(1).sum(1, keepdim=True) * (hidden / float(process.survival(t).lose))).round()


def _least(sureness: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """The masks that are least sure, ``count`` (batch, 1) of each sample."""
    order = torch.where(masked, sureness, torch.inf).flatten(1).argsort(dim=1, stable=True).argsort(1)
    return (order < count).view_as(masked)


def require_mask(process: Categorical) -> None:
    """Raises `UserError` unless the kernel masks all lost tokens."""
    if process.kernel != ABSORBING:
        raise UserError(f"this sampler unmasks tokens: set the kernel's mask to 1, not {process.kernel}")
