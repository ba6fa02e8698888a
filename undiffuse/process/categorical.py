"""The categorical process: a token is kept with probability a(t), or replaced by a draw from a fixed law.

    q(x_t | x_0) = a(t) [x_t = x_0] + (1 - a(t)) pi(x_t),          a(t) = sigmoid(log_snr(t))

with pi uniform (multinomial diffusion, Hoogeboom et al. 2021; with K = 2 the binomial diffusion of Sohl-Dickstein et
al. 2015) or all on one extra state, the mask (D3PM absorbing, Austin et al. 2021). a is alpha^2 of any variance
preserving schedule. Transitions are rank-one plus diagonal: nothing of size K x K is ever made, cost is linear in K.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.law import Discrete
from undiffuse.linear import Number
from undiffuse.noise import Noise
from undiffuse.process.schedule import Schedule


class Replacement(Protocol):
    """What a lost token becomes: a law pi over ``states`` >= ``classes`` states."""

    classes: int  # K, the states that data takes

    @property
    def states(self) -> int:
        """All states, those that only noise takes included."""
        ...

    def probs(self, like: Tensor) -> Tensor:
        """Pi, (states,), in the dtype and device of ``like``."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Any class, equally likely."""

    classes: int

    @property
    def states(self) -> int:
        """K."""
        return self.classes

    def probs(self, like: Tensor) -> Tensor:
        """1/K each."""
        return like.new_full((self.classes,), 1 / self.classes)


@dataclass(frozen=True)
class Absorbing:
    """The mask, state K: once there, a token stays."""

    classes: int

    @property
    def states(self) -> int:
        """K and the mask."""
        return self.classes + 1

    def probs(self, like: Tensor) -> Tensor:
        """All on the mask."""
        return F.one_hot(torch.tensor(self.classes), self.states).to(like)


@dataclass(frozen=True)
class Categorical:
    """q(x_t | x_0) over tokens (batch, *shape) int64. Beliefs about x_0 are logits (batch, *shape, classes)."""

    schedule: Schedule
    replacement: Replacement
    dtype: torch.dtype = torch.float32  # of probabilities

    def keep(self, t: Number) -> Number:
        """a(t), the probability that a token is still itself."""
        return _sigmoid(self.schedule.at(t).log_snr)

    def lose(self, t: Number) -> Number:
        """1 - a(t), without cancellation where nearly everything is kept."""
        return _sigmoid(-self.schedule.at(t).log_snr)

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0), (batch, *shape)."""
        return self.marginal(x_0, t).sample(noise)

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts: a draw from the prior."""
        return self.prior(like, t).sample(noise)

    def marginal(self, x_0: Tensor, t: Number) -> Discrete:
        """q(x_t | x_0) over all states, (batch, *shape, states)."""
        keep, lose = self._column(self.keep(t), x_0), self._column(self.lose(t), x_0)
        return Discrete((keep * self._one_hot(x_0) + lose * self._pi(x_0)).log())

    def prior(self, like: Tensor, t: float = 1.0) -> Discrete:
        """Pi at every entry, whatever t: all that is known before anything is."""
        return Discrete(self._pi(like).log().expand(*like.shape, -1))

    def posterior(self, x_t: Tensor, x_0: Tensor, t: float, s: float) -> Discrete:
        """q(x_s | x_t, x_0) for s < t, with x_0 known (tokens), or averaged over a belief (logits).

        q(x_s | x_t, x_0) = q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0), so for a belief p(x_0 | x_t)

            sum_x0 p(x_0) q(x_s | x_t, x_0) = q(x_t | x_s) [a_s r(x_s) + (1 - a_s) pi(x_s) sum r],  r = p/q(x_t | x_0).

        A belief in an x_0 that could not have led to x_t has r = 0: an unmasked token is never changed. Where no x_0
        could have, as for tokens given at t = 1 from which the rest is to follow, x_t stays.
        """
        step = self.keep(t) / self.keep(s)  # a number, or (batch,) float64: differences before rounding to dtype
        column = partial(self._column, like=x_t)
        pi, here = self._pi(x_t), self._one_hot(x_t)
        pi_here = (pi * here).sum(-1, keepdim=True)
        likelihood = column(self.keep(t)) * here + column(self.lose(t)) * pi_here  # q(x_t | x_0), by x_0
        back = column(step) * here + column(1 - step) * pi_here  # q(x_t | x_s), by x_s
        ratio = torch.where(likelihood > 0, self._probs(x_0, x_t) / likelihood, 0.0)
        weights = back * (column(self.keep(s)) * ratio + column(self.lose(s)) * pi * ratio.sum(-1, keepdim=True))
        total = weights.sum(-1, keepdim=True)
        return Discrete(torch.where(total > 0, weights / total, here).log())

    def decoder(self, x_t: Tensor, x_0: Tensor, t: float) -> Discrete:
        """p(x_0 | x_t): the posterior at s = 0, which is the belief, less what x_t rules out."""
        return self.posterior(x_t, x_0, t, 0.0)

    def _probs(self, x_0: Tensor, x_t: Tensor) -> Tensor:
        """A belief as probabilities over all states: data never takes the states that only noise does."""
        if not x_0.is_floating_point():
            return self._one_hot(x_0)
        return F.pad(x_0.softmax(-1), (0, self.replacement.states - x_0.shape[-1])).to(self.dtype)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x, self.replacement.states).to(self.dtype)

    def _pi(self, like: Tensor) -> Tensor:
        return self.replacement.probs(torch.empty((), dtype=self.dtype, device=like.device))

    def _column(self, value: Number, like: Tensor) -> Tensor:
        """A number, or one a sample, ready to multiply (batch, *shape, states)."""
        tensor = torch.as_tensor(value, dtype=torch.float64).to(like.device, self.dtype)
        return tensor.view(-1, *[1] * like.ndim) if tensor.ndim else tensor


def _sigmoid(x: Number) -> Number:
    if isinstance(x, Tensor):
        return x.sigmoid()
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))
