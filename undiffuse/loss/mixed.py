"""The loss of a denoiser of rows: `Denoising` for its numbers, `MaskedBound` for its tokens.

    L = (sum over numbers of |y(x_t, t) - y|^2 + sum over tokens of w(t) cross-entropy at the masks)/(numbers + tokens)

w(t) is that of the masked bound, so a token's term is its bound in nats. Every column has the same weight: with all
noise, the squared error of a number of unit variance and the nats of a token are both about 1.

In a ``share`` of the rows some entries are given without noise. Each is given with a probability that is itself drawn
once for the row, so that every number of given entries is equally likely. A given entry adds nothing to the loss. This
does not change the best prediction, E[x_0 | what is seen], only which inputs are seen; if nothing is given, the tokens'
term is the bound.

With ``whole``, for a picture and the condition that is drawn with it, the numbers are given all or none, and count as
one entry by their mean. With so few entries all would often be given, and such rows train nothing; so one of them,
chosen at random, is then not given. So of the ``share`` of the rows a third is given only the picture, a third only the
condition, and a third nothing. (In a table of n columns, one row in n + 1 of the share is given all.)
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
from undiffuse.loss.time import Uniform, log_snr_decay
from undiffuse.process.kernel import ABSORBING


@dataclass(frozen=True)
class MixedLoss(Loss[MixedDenoiser]):
    """Numbers and tokens of rows; a ``share`` of the rows has given entries, with ``whole`` the numbers all or none.

    Times are uniform, because the numbers' term has the same weight at all times: another distribution of t would
    change the objective.
    """

    time: Uniform = field(default_factory=lambda: Uniform(draws=LowDiscrepancy()))
    share: float = 0.5
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"share, of the rows that have given entries, must lie in [0, 1], not {self.share:g}")
        if self.time.steps is not None:
            raise UserError(f"the masked bound needs continuous times: unset time.steps, not {self.time}")

    def check(self, denoiser: MixedDenoiser) -> None:
        """Raises UserError for any other kernel than the mask."""
        if denoiser.process.categorical.kernel != ABSORBING:
            raise UserError("the masked bound is of masks alone, and this process loses tokens in another way")

    def __call__(
        self, denoiser: MixedDenoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,) of rows x_0 (batch, numbers + tokens); conditions that are drawn become its last tokens.

        A token that is missing in the data (the mask in x_0) adds nothing to the loss.
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
        y, logits = denoiser.output(x_t, t, denoiser.not_drawn(conditions), known)
        error = y - target(denoiser.prediction, process.schedule, numbers, z, t)
        squared = error.square().masked_fill(known, 0.0)
        missing = self._missing(denoiser, x_t, tokens, logits, t)
        if self.whole:
            return (squared.mean(1) + missing) / (1 + tokens.shape[1])
        return (squared.sum(1) + missing) / max(1, x_0.shape[1])

    def _missing(self, denoiser: MixedDenoiser, x_t: Tensor, tokens: Tensor, logits: Tensor, t: Tensor) -> Tensor:
        """The masked bound of the tokens, summed: (batch,) nats."""
        process = denoiser.process.categorical
        predicted = (denoiser.process.parts(x_t)[1] == process.classes) & (tokens < process.classes)
        nats = cross_entropy(logits.float(), tokens.clamp_max(process.classes - 1)).masked_fill(~predicted, 0.0).sum(1)
        weight = process.survival(t).keep * log_snr_decay(process.schedule, t) / self.time.density(t, process.schedule)
        return nats * cast(weight, nats)

    def _given(self, x_0: Tensor, numbers: int, noise: Noise) -> Tensor:
        """Which entries are given, (batch, entries) bool; with ``whole``, never all."""
        some, level, each = noise.uniform(x_0[:, :1]), noise.uniform(x_0[:, :1]), noise.uniform(x_0)
        level = torch.where(some < self.share, level, 0.0)
        if self.whole:
            each[:, :numbers] = each[:, :1].clone()
            level = torch.minimum(level, each.amax(1, keepdim=True))
        return each < level
