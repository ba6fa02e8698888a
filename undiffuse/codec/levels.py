"""Pictures as tokens: each value becomes one of a few levels of brightness, in a row from black to white.

    token = round((levels - 1) x/255)          x = round(255 token/(levels - 1))

With 256 levels nothing is lost; scikit-learn's digits have 17 levels, so 17 lose nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.codec.codec import Codec, Encoding, Entries
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.data.dataset import Dataset
from undiffuse.process.categorical import TokenShape


class LevelCodec(Codec):
    """Between uint8 pictures (batch, channels, height, width) and int64 tokens of the same shape.

    Args:
        shape: Of one picture.
        levels: From 2 to 256.
    """

    kind = "pictures"

    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        super().__init__()
        self.shape, self.levels = tuple(shape), levels

    @property
    def latent_shape(self) -> TokenShape:
        """A token for every value."""
        return TokenShape(self.shape, self.levels)

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """The nearest levels."""
        return (x * ((self.levels - 1) / 255)).round_().long()

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """Every entry that diffuses is one of the data."""
        return Entries(self.encode(x, noise), known)

    def decode(self, z: Tensor) -> Tensor:
        """Their brightness, uint8; a mask, which occurs only during sampling, is middle grey."""
        brightness = (z * (255 / (self.levels - 1))).round_()
        return torch.where(z < self.levels, brightness, 128).to(torch.uint8)


@dataclass(frozen=True)
class Levels(Encoding):
    """Pictures as tokens of ``count`` levels of brightness."""

    kinds: ClassVar[tuple[str, ...]] = ("pictures",)

    count: int = 16

    def __post_init__(self) -> None:
        if not 2 <= self.count <= 256:
            raise UserError(f"levels of brightness are 2 to 256, not {self.count}")

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> LevelCodec:
        """The codec. Raises UserError for data other than pictures."""
        self.check_kind(kind)
        return LevelCodec(shape, self.count)

    def measure(self, data: Dataset) -> LevelCodec:
        """The codec of this data."""
        codec = self.build(data.kind, data.shape)
        if data.x.dtype != torch.uint8:
            raise UserError(f"{data.name}: levels are of bytes, not of {data.x.dtype}; leave --codec as it is")
        return codec
