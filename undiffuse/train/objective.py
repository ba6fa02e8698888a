"""What is minimised, as one module: data as it is stored goes in, the loss of the batch comes out.

One module because it is what processes share (accelerate wraps it), and what a checkpoint holds: the denoiser, the
codec and whatever the loss learns (a schedule, a law of t).
"""

import torch
from torch import Tensor, nn

from undiffuse.codec.normalise import Normalise
from undiffuse.denoiser import Denoiser
from undiffuse.noise import Stream
from undiffuse.recipe import Loss
from undiffuse.stateful import modules


class Objective(nn.Module):
    """objective(x, label) -> the mean loss of a batch, ().

    Args:
        denoiser: What learns.
        loss: loss(denoiser, x_0, noise, label) -> (batch,).
        normalise: Brings data to zero mean and unit deviation.
        label_dropout: The share of samples, drawn one by one, whose label is hidden (-1), all attributes at once, so
            that the same network also learns to do without: what guidance steers away from.
        attribute_dropout: The share of single attributes that are hidden besides, each on its own, so that it can be
            asked for some and not for others.
        bf16: Whether the network computes in bfloat16.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        loss: Loss,
        normalise: Normalise,
        label_dropout: float = 0.0,
        bf16: bool = False,
        attribute_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.denoiser, self.loss, self.normalise = denoiser, loss, normalise
        self.parts = nn.ModuleList([*modules(denoiser.process), *modules(loss)])
        self.label_dropout, self.attribute_dropout, self.bf16 = label_dropout, attribute_dropout, bf16

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """x (batch, *shape) as it is stored, label (batch,) or (batch, attributes) int64, or None.

        Random numbers: torch's global generator.
        """
        x_0 = self.normalise.encode(x)
        if label is not None:
            label = hide(label, self.label_dropout, self.attribute_dropout)
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(self.denoiser, x_0, Stream(), label).mean()


def hide(label: Tensor, share: float, share_of_attributes: float = 0.0) -> Tensor:
    """Labels (batch,) or (batch, attributes) of which each row, on its own, is -1 with probability ``share``.

    Besides, each single entry is -1 with probability ``share_of_attributes``.
    """
    if share > 0:
        hidden = torch.rand(len(label), device=label.device) < share
        label = label.masked_fill(hidden.view(-1, *[1] * (label.ndim - 1)), -1)
    if share_of_attributes > 0:
        label = label.masked_fill(torch.rand(label.shape, device=label.device) < share_of_attributes, -1)
    return label
