"""The categorical process: a token is untouched with probability a(t), else lost, in the way that its kernel says.

    q(x_t | x_s) = Q(s -> t)[x_s, x_t],          a(t) = sigmoid(log_snr(t))

a is alpha^2 of any variance preserving schedule. Every law here is made of a kernel's two products with a vector
(`undiffuse.process.kernel`): nothing of size K x K is ever made.
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
from undiffuse.process.kernel import ALL, NOTHING, Kernel, Survival
from undiffuse.process.schedule import Schedule


class TokenShape(tuple[int, ...]):
    """The shape of tokens that diffuse, which also knows how many classes each may be of."""

    classes: int

    def __new__(cls, shape: Sequence[int], classes: int) -> Self:
        """Tokens of ``shape``, each one of ``classes``."""
        made = super().__new__(cls, tuple(shape))
        made.classes = classes
        return made


@dataclass(frozen=True)
class Categorical:
    """q(x_t | x_0) over tokens (batch, *shape) int64. Beliefs about x_0 are logits (batch, *shape, classes)."""

    schedule: Schedule
    kernel: Kernel
    classes: int  # K, the states that data takes
    dtype: torch.dtype = torch.float32  # of probabilities

    @property
    def states(self) -> int:
        """All states, those that only noise takes included: the mask is state K."""
        return self.classes + self.kernel.extra

    def survival(self, t: Number) -> Survival:
        """a(t), the probability that a token is untouched, and 1 - a(t), without cancellation."""
        log_snr = self.schedule.at(t).log_snr
        return Survival(_sigmoid(log_snr), _sigmoid(-log_snr))

    discrete = True  # tokens, and nothing else
    guidable = True  # whether guides can combine two beliefs about it

    @property
    def width(self) -> int:
        """Numbers of memory that each token takes, of as many probabilities: 1 up to 32 classes."""
        return max(1, self.classes // 32)

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """States yet to be drawn, (count, *shape)."""
        return torch.zeros(count, *shape, dtype=torch.long, device=device)

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t itself: tokens have no spread."""
        return x_t

    def level(self, t: float) -> str:
        """How many tokens are lost, in words."""
        return f"lost {float(self.survival(t).lose):.0%}"

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known: x_0.

        Exact for the mask, as a network that knows masks knows what is no mask. Under other kernels what is known looks
        to the network as what happens to be untouched: an approximation.
        """
        return torch.where(known, x_0, x_t)

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """What a denoiser is told of what is known, beside what it is shown: nothing, as it can see it."""
        return {}

    def settle(self, belief: Tensor, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> Tensor:
        """Logits (batch, *shape, classes): 0 and -inf where x_0 is known."""
        if ruled_out is not None:
            belief = belief.masked_fill(ruled_out, -torch.inf)
        own = F.one_hot(x_0.clamp(0, belief.shape[-1] - 1), belief.shape[-1]).bool()
        truth = torch.zeros_like(belief).masked_fill(~own, -torch.inf)
        return torch.where(known[..., None], truth, belief)

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0), (batch, *shape)."""
        return self.marginal(x_0, t).sample(noise)

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts: what any token is when all is lost, whatever t; the prior, to a(t)."""
        return self._of_anything(like, NOTHING).sample(noise)

    def marginal(self, x_0: Tensor, t: Number) -> Discrete:
        """q(x_t | x_0) over all states, (batch, *shape, states)."""
        return Discrete.of(self.kernel.forward(self._one_hot(x_0), ALL, self.survival(t)))

    def prior(self, like: Tensor, t: float = 1.0) -> Discrete:
        """What x_t looks like before anything is known: q(x_t | x_0) averaged over all classes.

        A schedule that leaves a(1) > 0 of the tokens unmasked has so a finite bound: what is left costs a(1) log K.
        """
        return self._of_anything(like, self.survival(t))

    def posterior(self, x_t: Tensor, x_0: Tensor, t: Number, s: Number) -> Discrete:
        """q(x_s | x_t, x_0) for s < t, with x_0 known (tokens), or averaged over a belief (logits).

        q(x_s | x_t, x_0) = q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0), averaged by the kernel (`Kernel.log_bridge`). A
        belief in an x_0 that could not have led to x_t counts for nothing: an unmasked token is never changed. Where no
        x_0 could have, as for tokens given at t = 1 from which the rest is to follow, x_t stays.
        """
        weights = self.kernel.log_bridge(self._probs(x_0), x_t, self.survival(s), self.survival(t))
        possible = weights.amax(-1, keepdim=True) > -torch.inf
        normal = weights.where(possible, 0.0).log_softmax(-1).to(self.dtype)
        return Discrete(torch.where(possible, normal, log(self._one_hot(x_t))))

    def decoder(self, x_t: Tensor, x_0: Tensor, t: Number) -> Discrete:
        """p(x_0 | x_t): the posterior at s = 0, which is the belief, less what x_t rules out."""
        return self.posterior(x_t, x_0, t, 0.0)

    def require_fresh_noise(self) -> None:
        """Never refuses: every kernel has a posterior."""

    def believed(self, x_t: Tensor, alone: Tensor, t: Number) -> Tensor:
        """Logits of p(x_0^i | x_t), of those of p(x_0^i | x_t but its own token): what the token itself says is added.

        p(x_0^i | x_t) = p(x_0^i | x_t^(not i)) q(x_t^i | x_0^i) / normaliser, since tokens are lost independently. A
        network that is to name x_0 from the others (a *leave-one-out* head) is no posterior, nor the other way round:
        D3PM's p(x_s | x_t) ~ q(x_t | x_s) sum_x0 p(x_0) q(x_s | x_0) is right for the first alone.
        """
        likelihood = self.kernel.backward(self._one_hot(x_t), ALL, self.survival(t))[..., : self.classes]
        return alone + likelihood.clamp_min(torch.finfo(self.dtype).tiny).log().to(alone)  # finite: guidance subtracts

    def _of_anything(self, like: Tensor, t: Survival) -> Discrete:
        anything = torch.full((1, self.classes), 1 / self.classes, dtype=self.dtype, device=like.device)
        law = self.kernel.forward(F.pad(anything, (0, self.kernel.extra)), ALL, t)[0]
        return Discrete.of(law.expand(*like.shape, -1))

    def _probs(self, x_0: Tensor) -> Tensor:
        """A belief as probabilities over all states: data never takes the states that only noise does."""
        if not x_0.is_floating_point():
            return self._one_hot(x_0)
        return F.pad(x_0.softmax(-1), (0, self.states - x_0.shape[-1])).to(self.dtype)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.states).to(self.dtype)


def _sigmoid(x: Number) -> Number:
    if isinstance(x, Tensor):
        return x.sigmoid()
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
