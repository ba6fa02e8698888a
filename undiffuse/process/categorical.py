"""The categorical process: a token is unchanged with probability a(t), else lost; its kernel says what it becomes.

    q(x_t | x_s) = Q(s -> t)[x_s, x_t],          a(t) = sigmoid(log_snr(t))

a is alpha^2 of any variance preserving schedule. Every distribution here needs only a kernel's two products with a
vector (`undiffuse.process.kernel`), so nothing of size K x K is needed (though `Ordinal` computes it for small K).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.distribution import Discrete, log
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.process.kernel import ALL, NOTHING, Kernel, Survival, column
from undiffuse.process.schedule import Schedule, logit, time_at


class TokenShape(tuple[int, ...]):
    """The shape of tokens that diffuse, with the number of classes of each token."""

    classes: int

    def __new__(cls, shape: Sequence[int], classes: int) -> Self:
        """Tokens of ``shape``, each of one of ``classes``."""
        made = super().__new__(cls, tuple(shape))
        made.classes = classes
        return made


@dataclass(frozen=True)
class Categorical:
    """q(x_t | x_0) over tokens (batch, *shape) int64. Beliefs about x_0 are logits (batch, *shape, classes)."""

    schedule: Schedule
    kernel: Kernel
    classes: int  # K, the number of states that data takes
    dtype: torch.dtype = torch.float32  # of probabilities

    @property
    def states(self) -> int:
        """The number of states, including those that only noise takes: the mask is state K."""
        return self.classes + self.kernel.extra

    def survival(self, t: Number) -> Survival:
        """a(t), the probability that a token is unchanged, and 1 - a(t), without cancellation."""
        log_snr = self.schedule.at(t).log_snr
        return Survival(_sigmoid(log_snr), _sigmoid(-log_snr))

    discrete = True  # tokens, and nothing else
    guidable = True  # whether guides can combine two beliefs about it

    @property
    def width(self) -> int:
        """How many numbers of memory each token takes, 32 probabilities counted as one: 1 for up to 32 classes."""
        return max(1, self.classes // 32)

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Empty states (count, *shape)."""
        return torch.zeros(count, *shape, dtype=torch.long, device=device)

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t itself: tokens have no scale."""
        return x_t

    def level(self, t: float) -> str:
        """The share of tokens that are lost, in words."""
        return f"lost {float(self.survival(t).lose):.0%}"

    def time(self, share: float) -> float:
        """The time at which this share of the tokens, in (0, 1), is lost."""
        return time_at(self.schedule, logit(1 - share))

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known: x_0.

        Exact for the mask: a token that is not masked is x_0. With other kernels the network cannot tell a known token
        from one that may have been changed: an approximation.
        """
        return torch.where(known, x_0, x_t)

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """Further arguments of the denoiser that say which entries are known: none."""
        return {}

    def settle(self, belief: Tensor, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> Tensor:
        """Logits (batch, *shape, classes); where x_0 is known, 0 for its class and -inf for the others."""
        if ruled_out is not None:
            belief = belief.masked_fill(ruled_out, -torch.inf)
        own = F.one_hot(x_0.clamp(0, belief.shape[-1] - 1), belief.shape[-1]).bool()
        truth = torch.zeros_like(belief).masked_fill(~own, -torch.inf)
        return torch.where(known[..., None], truth, belief)

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0), (batch, *shape)."""
        return self.marginal(x_0, t).sample(noise)

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts: every token lost, whatever t. It differs from the prior by at most a(t)."""
        return self._of_anything(like, NOTHING).sample(noise)

    def marginal(self, x_0: Tensor, t: Number) -> Discrete:
        """q(x_t | x_0) over all states, (batch, *shape, states)."""
        return Discrete.of(self.kernel.forward(self._one_hot(x_0), ALL, self.survival(t)))

    def prior(self, like: Tensor, t: float = 1.0) -> Discrete:
        """The distribution of x_t when x_0 is unknown: q(x_t | x_0) averaged over all classes.

        So the bound is finite even if a schedule leaves a share a(1) > 0 of the tokens unmasked: they cost a(1) log K.
        """
        return self._of_anything(like, self.survival(t))

    def posterior(self, x_t: Tensor, x_0: Tensor, t: Number, s: Number) -> Discrete:
        """q(x_s | x_t, x_0) for s < t, with x_0 known (tokens), or averaged over a belief (logits).

        q(x_s | x_t, x_0) = q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0); the kernel averages it (`Kernel.log_bridge`). A
        class x_0 that cannot lead to x_t gets no weight: an unmasked token never changes. If no class can lead to x_t,
        as for tokens that are given at t = 1, x_t stays.
        """
        weights = self.kernel.log_bridge(self._probs(x_0), x_t, self.survival(s), self.survival(t))
        possible = weights.amax(-1, keepdim=True) > -torch.inf
        normal = weights.where(possible, 0.0).log_softmax(-1).to(self.dtype)
        return Discrete(torch.where(possible, normal, log(self._one_hot(x_t))))

    def rates(self, x_t: Tensor, x_0: Tensor, t: Number, moment: Number) -> Tensor:
        """The rates at which x_t jumps to each other state on the way back, (batch, *shape, states).

        They are those of the posterior over a short time, ``moment``; x_0 is known, or a belief.
        """
        before = self.posterior(x_t, x_0, t, t - moment).log_probs.exp()
        return before.masked_fill(F.one_hot(x_t, self.states).bool(), 0.0) / column(moment, before)

    def decoder(self, x_t: Tensor, x_0: Tensor, t: Number) -> Discrete:
        """p(x_0 | x_t): the posterior at s = 0, which is the belief without what x_t rules out."""
        return self.posterior(x_t, x_0, t, 0.0)

    def require_fresh_noise(self) -> None:
        """Raises nothing: every kernel has a posterior."""

    def believed(self, x_t: Tensor, alone: Tensor, t: Number) -> Tensor:
        """Logits of p(x_0^i | x_t), given those of p(x_0^i | x_t^(not i)): adds the likelihood of token i itself.

        p(x_0^i | x_t) = p(x_0^i | x_t^(not i)) q(x_t^i | x_0^i) / normaliser, since tokens are lost independently. A
        *leave-one-out* head, which predicts a token from the others, is not a posterior, and a posterior is no such
        head. D3PM's p(x_s | x_t) ~ q(x_t | x_s) sum_x0 p(x_0) q(x_s | x_0) is right for a leave-one-out head only.
        """
        likelihood = self.kernel.backward(self._one_hot(x_t), ALL, self.survival(t))[..., : self.classes]
        return alone + likelihood.clamp_min(torch.finfo(self.dtype).tiny).log().to(alone)  # finite: guidance subtracts

    def _of_anything(self, like: Tensor, t: Survival) -> Discrete:
        anything = torch.full((1, self.classes), 1 / self.classes, dtype=self.dtype, device=like.device)
        probs = self.kernel.forward(F.pad(anything, (0, self.kernel.extra)), ALL, t)[0]
        return Discrete.of(probs.expand(*like.shape, -1))

    def _probs(self, x_0: Tensor) -> Tensor:
        """A belief as probabilities over all states; those that only noise takes have 0."""
        if not x_0.is_floating_point():
            return self._one_hot(x_0)
        return F.pad(x_0.softmax(-1), (0, self.states - x_0.shape[-1])).to(self.dtype)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.states).to(self.dtype)


def _sigmoid(x: Number) -> Number:
    if isinstance(x, Tensor):
        return x.sigmoid()
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
