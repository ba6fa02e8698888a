"""The codec of tokens: text, which diffuses as it is. The codec holds only the alphabet, to turn samples into text."""

import json
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.codec.codec import Codec, Encoding, Entries
from undiffuse.core.configuration import from_json, to_values
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.data.alphabet import Alphabet
from undiffuse.data.dataset import Dataset
from undiffuse.process.categorical import TokenShape


class TokenCodec(Codec):
    """Between tokens as they are stored, small integers, and tokens that diffuse, int64.

    Args:
        shape: Of one sample, (length,).
        alphabet: What tokens stand for.
    """

    kind = "text"

    def __init__(self, shape: tuple[int, ...], alphabet: Alphabet) -> None:
        super().__init__()
        self.shape, self.alphabet = tuple(shape), alphabet

    @property
    def latent_shape(self) -> TokenShape:
        """Tokens of the alphabet."""
        return TokenShape(self.shape, self.alphabet.size)

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """(batch, *shape) int64."""
        return x.long()

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """Every entry that diffuses is one of the data."""
        return Entries(self.encode(x, noise), known)

    def decode(self, z: Tensor) -> Tensor:
        """(batch, *shape) int32. On the way there may be masks, of state ``alphabet.size``."""
        return z.to(torch.int32)

    def facts(self) -> str:
        """All that a codec of this type needs except the shape, as JSON."""
        return json.dumps(to_values(self.alphabet, Alphabet))


@dataclass(frozen=True)
class Tokens(Encoding):
    """Tokens as they are."""

    kinds: ClassVar[tuple[str, ...]] = ("text",)
    formerly: ClassVar[str] = "Verbatim"

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> TokenCodec:
        """The codec that a file describes. Raises UserError for an invalid description."""
        self.check_kind(kind)
        if len(shape) != 1:
            raise UserError(f"a text has a length, and no shape {shape}")
        return TokenCodec(shape, from_json(Alphabet, facts or "", "codec"))

    def measure(self, data: Dataset) -> TokenCodec:
        """The codec of this text. Raises UserError for data that is not text."""
        self.check_kind(data.kind)
        assert data.alphabet is not None  # a text has one
        return TokenCodec(data.shape, data.alphabet)
