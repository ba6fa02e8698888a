"""What a denoiser of rows is trained to do: to name numbers as `Denoising` has it, and tokens as `MaskedBound` has.

    L = (sum over numbers of |y(x_t, t) - y|^2 + sum over tokens of w(t) cross-entropy at the masks)/(numbers + tokens)

w(t) is the masked bound's: a token's part is its bound in nats, and every column counts the same: the squared error of
a number of unit variance and the nats of a token are both about 1 where nothing is known.

Of a ``share`` of the rows a part is given, without noise: each entry with a probability that is itself drawn, once a
row, so that any number of entries is equally likely. What is given is not asked for. This changes nothing about what
is best to answer, E[x_0 | what is seen], only where it is asked; without any given, the tokens' part is the bound.

The numbers of a picture are one thing, a condition that is drawn with it another: with ``whole`` they are given all or
none, and count as one entry, by their mean. Of so few entries all would often be given, and such rows train nothing:
where they would be, one of them, any, is asked for after all. So of the ``share`` of the rows a third is given the
picture alone, a third the condition alone, and a third nothing. (Of a table of n columns, one row in n + 1 of the share
is given all.)
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import target
from undiffuse.loss.categorical import cross_entropy
from undiffuse.loss.denoising import cast
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import Uniform, fall
from undiffuse.process.kernel import ABSORBING


@dataclass(frozen=True)
class MixedLoss(Loss[MixedDenoiser]):
    """Numbers and tokens of rows, of which in a ``share`` some are given; with ``whole``, numbers all or none.

    Times are uniform: the numbers' part weighs all alike, and a law that prefers some would be part of the objective.
    """

    time: Uniform = field(default_factory=lambda: Uniform(draws=LowDiscrepancy()))
    share: float = 0.5
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"share, of rows of which some is given, is from 0 to 1, not {self.share:g}")
        if self.time.steps is not None:
            raise UserError(f"the masked bound is of continuous times: time without steps, not {self.time}")

    def check(self, denoiser: MixedDenoiser) -> None:
        """Raises UserError for any other kernel than the mask."""
        if denoiser.process.categorical.kernel != ABSORBING:
            raise UserError("the masked bound is of masks alone, and this process loses tokens in another way")

    def __call__(
        self, denoiser: MixedDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,) of rows x_0 (batch, numbers + tokens); conditions that are drawn become its last tokens.

        A token that is not known, in x_0 itself the mask, is never asked for.
        """
        self.check(denoiser)
        process = denoiser.process
        x_0 = denoiser.joined(x_0, conditions)
        t = self.time.sample(len(x_0), noise, process.schedule)
        given = self._given(x_0, process.numbers, noise)
        numbers, tokens = process.parts(x_0)
        z = noise.normal(numbers)
        hidden = process.categorical.corrupt(tokens, t, noise)
        x_t = torch.where(given, x_0, torch.cat([process.gaussian.mix(numbers, z, t), hidden.to(x_0)], 1))
        known = given[:, : process.numbers]
        y, logits = denoiser.output(x_t, t, denoiser.asked(conditions), known)
        error = y - target(denoiser.prediction, process.schedule, numbers, z, t)
        squared = error.square().masked_fill(known, 0.0)
        missing = self._missing(denoiser, x_t, tokens, logits, t)
        if self.whole:
            return (squared.mean(1) + missing) / (1 + tokens.shape[1])
        return (squared.sum(1) + missing) / max(1, x_0.shape[1])

    def _missing(self, denoiser: MixedDenoiser, x_t: Tensor, tokens: Tensor, logits: Tensor, t: Tensor) -> Tensor:
        """The masked bound of the tokens, summed: (batch,) nats."""
        process = denoiser.process.categorical
        asked = (denoiser.process.parts(x_t)[1] == process.classes) & (tokens < process.classes)
        nats = cross_entropy(logits.float(), tokens.clamp_max(process.classes - 1)).masked_fill(~asked, 0.0).sum(1)
        weight = process.kept(t).keep * fall(process.schedule, t) / self.time.density(t, process.schedule)
        return nats * cast(weight, nats)

    def _given(self, x_0: Tensor, numbers: int, noise: Noise) -> Tensor:
        """Which entries are given, (batch, entries) bool; with ``whole`` never all."""
        some, level, each = noise.uniform(x_0[:, :1]), noise.uniform(x_0[:, :1]), noise.uniform(x_0)
        level = torch.where(some < self.share, level, 0.0)
        if self.whole:
            each[:, :numbers] = each[:, :1].clone()
            level = torch.minimum(level, each.amax(1, keepdim=True))
        return each < level
