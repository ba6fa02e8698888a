"""Network + mixed process = a denoiser of rows: E[x_0 | x_t] of the numbers, logits of p(x_0 | x_t) of the tokens.

    denoiser(x_t, t, conditions=None) -> MixedBelief(mean (batch, numbers), logits (batch, tokens, classes))

Any part of a row may be *given*: known without noise, at every t. The network is told which numbers are given (a token
without a mask is known anyway), and it is trained on rows with any part given (`undiffuse.loss.mixed`). So drawing the
rest, given some columns, is ordinary sampling with another denoiser, as exact as the network. It needs no replacement
of states on the way, which is only right in the limit of resampling (Lugmayr et al. 2022):

    Known(denoiser, process, x_0, known)     a denoiser in, a denoiser out (`undiffuse.denoiser.known`)

A row may hold its conditions as its last tokens (``drawn``, their names): where one is present it is given, and where
it is absent it is drawn too, so that one network knows the joint distribution and every conditional of it.
"""

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import level_alone
from undiffuse.core.linear import Number, scale
from undiffuse.denoiser.gaussian import Encode, noise_level
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.prediction import Prediction, to_x0
from undiffuse.process.mixed import Mixed, MixedBelief


class MixedDenoiser(nn.Module):
    """The belief about x_0, from a network that sees numbers, tokens, and which numbers are given.

    Args:
        net: As `undiffuse.net.table` has it.
        process: How a row is lost.
        prediction: What the network predicts of the numbers.
        encoder: What makes routes of the noise level and the conditions that are not drawn.
        drawn: The conditions that are a row's last tokens, in order.
    """

    learned_variance = False  # of a step; see `denoiser.gaussian`
    jumps: tuple[str, ...] = ()  # see `denoiser.flow_map`

    def __init__(
        self,
        net: nn.Module,
        process: Mixed,
        prediction: Prediction,
        encoder: Encode = level_alone,
        drawn: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder, self.drawn = encoder, drawn
        self.net, self.process, self.prediction = net, process, prediction

    def forward(
        self, x_t: Tensor, t: Number, conditions: Conditions | None = None, given: Tensor | None = None
    ) -> MixedBelief:
        """At time t, a number or (batch,), of rows x_t (batch, numbers + tokens).

        ``given`` (batch, numbers) bool: the numbers of x_t that equal those of x_0; the belief keeps them.
        """
        if conditions is None or not self.drawn:
            return self._believed(x_t, t, conditions, given)
        x_0 = self.joined(x_t, conditions)
        known = torch.zeros_like(x_t, dtype=torch.bool)
        known[:, -len(self.drawn) :] = x_0[:, -len(self.drawn) :] < self.process.categorical.classes
        if given is not None:
            known[:, : self.process.numbers] = given
        return Known(self._believed, self.process, x_0, known)(x_t, t, self.not_drawn(conditions))

    def joined(self, x: Tensor, conditions: Conditions | None) -> Tensor:
        """Rows x with the drawn conditions as their last tokens; the mask where one is absent."""
        if conditions is None or not self.drawn:
            return x
        lost = self.process.categorical.classes
        entries = [conditions.entries[name] for name in self.drawn]
        tokens = [values.masked_fill(~present, lost).to(x) for values, present in entries]
        return torch.cat([x[:, : -len(tokens)], torch.stack(tokens, 1)], 1)

    def not_drawn(self, conditions: Conditions | None) -> Conditions | None:
        """Those conditions that are not drawn."""
        if conditions is None or not self.drawn:
            return conditions
        return conditions.only(*(name for name in conditions.entries if name not in self.drawn))

    def _believed(
        self, x_t: Tensor, t: Number, conditions: Conditions | None, given: Tensor | None = None
    ) -> MixedBelief:
        y, logits = self.output(x_t, t, conditions, given)
        numbers, _ = self.process.parts(x_t)
        mean = to_x0(self.prediction, self.process.schedule, numbers, y, t)
        return MixedBelief(mean if given is None else torch.where(given, numbers, mean), logits)

    def output(
        self, x_t: Tensor, t: Number, conditions: Conditions | None = None, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The network's prediction of the numbers, and logits."""
        numbers, tokens = self.process.parts(x_t)
        scaled = scale(self.process.input_scale(t), numbers)
        if given is None:
            given = torch.zeros_like(numbers, dtype=torch.bool)
        y, logits = self.net(
            torch.where(given, numbers, scaled),
            given,
            tokens,
            self.encoder(noise_level(self.process.schedule.at(t).log_snr, x_t.device), conditions),
        )
        return y, logits
