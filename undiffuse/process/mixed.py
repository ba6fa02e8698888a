"""The mixed process: numbers become Gaussian noise and tokens are lost, at one time t.

    q(x_t | x_0) = N(alpha x_0, sigma^2) over the first ``numbers`` entries x the categorical distribution over the rest

For tables (columns of numbers and of categories) and for a picture with its condition. A state is one float tensor
(batch, numbers + tokens) in which tokens are whole numbers, so that data, noise and samplers need no special case; a
belief is a pair. The two parts are an `Affine` and a `Categorical` process: every distribution below is a product of
theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete, Normal
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.process.affine import Affine
from undiffuse.process.categorical import Categorical
from undiffuse.process.schedule import Schedule


class RowShape(tuple[int, ...]):
    """The shape of a row that diffuses, (numbers + tokens,), with the number of classes of each token."""

    numbers: int
    classes: tuple[int, ...]
    drawn: tuple[str, ...]

    def __new__(cls, numbers: int, classes: Sequence[int], drawn: Sequence[str] = ()) -> Self:
        """``numbers`` numbers and a token for each of the ``classes``; the last tokens are the conditions ``drawn``."""
        shape = super().__new__(cls, (numbers + len(classes),))
        shape.numbers, shape.classes, shape.drawn = numbers, tuple(classes), tuple(drawn)
        return shape


class MixedBelief(NamedTuple):
    """A belief about x_0: the mean of its numbers, the logits of its tokens."""

    mean: Tensor  # (batch, numbers)
    logits: Tensor  # (batch, tokens, classes)


@dataclass(frozen=True)
class MixedDistribution:
    """A distribution of numbers and tokens that are independent of each other."""

    numbers: Normal
    tokens: Discrete

    def sample(self, noise: Noise) -> Tensor:
        """One draw, (batch, numbers + tokens)."""
        numbers = self.numbers.sample(noise)
        return torch.cat([numbers, self.tokens.sample(noise).to(numbers)], 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, (batch,)."""
        numbers, tokens = x.split([self.numbers.mean.shape[1], x.shape[1] - self.numbers.mean.shape[1]], 1)
        return self.numbers.log_prob(numbers) + self.tokens.log_prob(tokens.long())

    def kl(self, other: "MixedDistribution") -> Tensor:
        """KL(self || other) in nats, (batch,): the sum of the two."""
        return self.numbers.kl(other.numbers) + self.tokens.kl(other.tokens)


@dataclass(frozen=True)
class Mixed:
    """``gaussian`` over the first ``numbers`` entries, ``categorical`` over the rest.

    If tokens have fewer classes than ``categorical``, the denoiser gives probability only to their own classes; with
    the mask kernel, noise never takes a class that a token does not have.
    """

    numbers: int
    gaussian: Affine
    categorical: Categorical

    @property
    def schedule(self) -> Schedule:
        """That of the numbers; the tokens have their own."""
        return self.gaussian.schedule

    def input_scale(self, t: Number) -> Number:
        """1/std of the numbers of x_t."""
        return self.gaussian.input_scale(t)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers (batch, numbers) and tokens (batch, tokens) int64 of a state."""
        return x[:, : self.numbers], x[:, self.numbers :].long()

    discrete = False  # tokens, and nothing else
    guidable = False  # whether guides can combine two beliefs about it
    width = 1  # how many numbers of memory each entry of a state takes

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Empty states (count, numbers + tokens)."""
        return self.gaussian.blank(count, shape, device)

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t with its numbers scaled to the standard deviation of the data."""
        numbers, tokens = self.parts(x_t)
        return _join(self.gaussian.shown(numbers, t), tokens)

    def level(self, t: float) -> str:
        """The noise level of the numbers, in words."""
        return self.gaussian.level(t)

    def time(self, share: float) -> float:
        """The time at which this share of the numbers, in (0, 1), is noise."""
        return self.gaussian.time(share)

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known: x_0; `hints` tells it where."""
        return torch.where(known, x_0, x_t)

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """Further arguments of the denoiser that say which entries are known: the numbers that are given."""
        return {"given": known[:, : self.numbers]}

    def settle(self, belief: MixedBelief, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> MixedBelief:
        """The belief, with x_0 in the place of what is known."""
        (numbers, tokens), (known_numbers, known_tokens) = self.parts(x_0), self.parts(known)
        mean = self.gaussian.settle(belief.mean, numbers, known_numbers)
        return MixedBelief(mean, self.categorical.settle(belief.logits, tokens, known_tokens.bool(), ruled_out))

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0)."""
        numbers, tokens = self.parts(x_0)
        return _join(self.gaussian.corrupt(numbers, t, noise), self.categorical.corrupt(tokens, t, noise))

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts."""
        numbers, tokens = self.parts(like)
        return _join(self.gaussian.start(numbers, noise, t), self.categorical.start(tokens, noise, t))

    def marginal(self, x_0: Tensor, t: Number) -> MixedDistribution:
        """q(x_t | x_0)."""
        numbers, tokens = self.parts(x_0)
        return MixedDistribution(self.gaussian.marginal(numbers, t), self.categorical.marginal(tokens, t))

    def prior(self, like: Tensor, t: float = 1.0) -> MixedDistribution:
        """The distribution of x_t when x_0 is unknown."""
        numbers, tokens = self.parts(like)
        return MixedDistribution(self.gaussian.prior(numbers, t), self.categorical.prior(tokens, t))

    def posterior(self, x_t: Tensor, x_0: Tensor | MixedBelief, t: float, s: float) -> MixedDistribution:
        """q(x_s | x_t, x_0), with x_0 known, or a belief."""
        numbers, tokens = self.parts(x_t)
        mean, logits = self._belief(x_0)
        return MixedDistribution(
            self.gaussian.posterior(numbers, mean, t, s), self.categorical.posterior(tokens, logits, t, s)
        )

    def decoder(self, x_t: Tensor, x_0: Tensor | MixedBelief, t: float) -> MixedDistribution:
        """p(x_0 | x_t)."""
        numbers, tokens = self.parts(x_t)
        mean, logits = self._belief(x_0)
        return MixedDistribution(self.gaussian.decoder(numbers, mean, t), self.categorical.decoder(tokens, logits, t))

    def require_fresh_noise(self) -> None:
        """As for the process of the numbers."""
        self.gaussian.require_fresh_noise()

    def _belief(self, x_0: Tensor | MixedBelief) -> tuple[Tensor, Tensor]:
        return x_0 if isinstance(x_0, MixedBelief) else self.parts(x_0)


def _join(numbers: Tensor, tokens: Tensor) -> Tensor:
    return torch.cat([numbers, tokens.to(numbers)], 1)
