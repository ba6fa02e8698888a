"""Network + mixed process = a denoiser of rows: E[x_0 | x_t] of the numbers, logits of p(x_0 | x_t) of the tokens.

    denoiser(x_t, t) -> MixedBelief(mean (batch, numbers), logits (batch, tokens, classes))

Any part of a row may be *given*: known without noise, at every t. The network is told so, number by number (a token
that shows is known anyway), and is trained on rows of which any part is (`undiffuse.loss.mixed`). So to draw the rest
given some columns is ordinary sampling with another denoiser, exact as far as the network is, and no replacement of
states on the way, which is only right in the limit of resampling (Lugmayr et al. 2022):

    Known(denoiser, process, x_0, known)     a denoiser in, a denoiser out (`undiffuse.denoiser.known`)
    GivenLabel(denoiser)                     likewise, of rows whose last token is a label: told one, or told none
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undiffuse.core.linear import Number, scale
from undiffuse.denoiser.gaussian import told_level
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.prediction import Prediction, to_x0
from undiffuse.process.mixed import Mixed, MixedBelief


class MixedDenoiser(nn.Module):
    """What is believed of x_0, from a network that is told numbers, tokens, and which numbers are given.

    Args:
        net: As `undiffuse.net.table` has it.
        process: How a row is lost.
        prediction: What the network says of the numbers.
    """

    def __init__(self, net: nn.Module, process: Mixed, prediction: Prediction) -> None:
        super().__init__()
        self.net, self.process, self.prediction = net, process, prediction

    def forward(self, x_t: Tensor, t: Number, given: Tensor | None = None) -> MixedBelief:
        """At time t, a number or (batch,), of rows x_t (batch, numbers + tokens).

        ``given`` (batch, numbers) bool: the numbers of x_t that are x_0's own, which are believed as they are.
        """
        y, logits = self.output(x_t, t, given)
        numbers, _ = self.process.parts(x_t)
        mean = to_x0(self.prediction, self.process.schedule, numbers, y, t)
        return MixedBelief(mean if given is None else torch.where(given, numbers, mean), logits)

    def output(self, x_t: Tensor, t: Number, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the network says: the prediction of the numbers, and logits."""
        numbers, tokens = self.process.parts(x_t)
        scaled = scale(self.process.input_scale(t), numbers)
        if given is None:
            given = torch.zeros_like(numbers, dtype=torch.bool)
        y, logits = self.net(
            torch.where(given, numbers, scaled),
            given,
            tokens,
            told_level(self.process.schedule.at(t).log_snr, x_t.device),
        )
        return y, logits


@dataclass(frozen=True)
class GivenLabel:
    """A denoiser of rows whose last token is a label: where one is told it is given, elsewhere it is drawn too."""

    denoiser: MixedDenoiser

    def __call__(self, x_t: Tensor, t: float, label: Tensor | None = None, given: Tensor | None = None) -> MixedBelief:
        """What is believed of rows x_t (batch, numbers + 1) with ``label`` (batch,), -1 where none is told."""
        if label is None:
            return self.denoiser(x_t, t, given)
        known = torch.zeros_like(x_t, dtype=torch.bool)
        known[:, -1] = label >= 0
        if given is not None:
            known[:, :-1] = given
        x_0 = with_label(x_t, label, self.denoiser.process.categorical.classes)
        return Known(self.denoiser, self.denoiser.process, x_0, known)(x_t, t)


def with_label(x: Tensor, label: Tensor, classes: int) -> Tensor:
    """Rows x whose last token is the ``label`` (batch,), below ``classes``; the mask where it is -1, not known."""
    token = torch.where(label < 0, classes, label).to(x)
    return torch.cat([x[:, :-1], token[:, None]], 1)
