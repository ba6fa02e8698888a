"""Any network of pictures as one of pictures made of tokens: a U-Net or a DiT on embeddings.

    tokens (batch, channels, height, width) -> a vector each -> the network, on channels x width channels -> logits

As for D3PM's pictures (Austin et al. 2021, appendix B), whose network is DDPM's U-Net. The embedding of tokens and the
output layer share their vectors, as in `token_transformer`.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.dit import DiT
from undiffuse.net.fold import SpaceToDepth
from undiffuse.net.unet import UNet
from undiffuse.process.categorical import TokenShape


@dataclass(frozen=True)
class Embedded:
    """A network of pictures, made of tokens.

    inner   the network on embeddings
    width   of each token's vector
    """

    inner: UNet | SpaceToDepth | DiT = field(default_factory=UNet)
    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UserError(f"a token's vector has at least 1 number, not {self.width}")

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.inner.vector

    def build(self, shape: TokenShape, states: int, routes: Widths) -> "EmbeddedNet":
        """The module. Raises UserError for tokens that are no pictures (channels, height, width), or height and width.

        Of ``states`` states that a token may have, the first ``shape.classes`` are the data's.
        """
        if len(shape) not in (2, 3):
            raise UserError(f"an embedded U-Net takes pictures made of tokens, not text of shape {tuple(shape)}")
        channels = shape[0] if len(shape) == 3 else 1
        inner = self.inner.build((channels * self.width, *shape[-2:]), routes)
        return EmbeddedNet(inner, states, shape.classes, self.width)


class EmbeddedNet(nn.Module):
    """(batch, *shape) int64 -> logits (batch, *shape, classes); the contract is in `undiffuse.denoiser.categorical`."""

    def __init__(self, inner: nn.Module, states: int, classes: int, width: int) -> None:
        super().__init__()
        self.inner, self.classes = inner, classes
        self.embedding = nn.Embedding(states, width)  # N(0, 1), as a network of pictures expects
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x_t: Tensor, routes: Routes) -> Tensor:
        """Logits, which start at zero, as the inner network does."""
        pictures = x_t if x_t.ndim == 4 else x_t[:, None]
        h = self.embedding(pictures).movedim(-1, 2).flatten(1, 2)  # (batch, channels x width, height, width)
        answer = self.inner(h, routes).unflatten(1, (pictures.shape[1], -1)).movedim(2, -1)
        logits = answer @ (self.embedding.weight[: self.classes].T / math.sqrt(answer.shape[-1])) + self.bias
        return logits.view(*x_t.shape, self.classes)
