"""The codec of tokens: text, which diffuses as it is. The codec holds only the alphabet, to turn samples into text."""

import json
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.codec.codec import Codec, Entries
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
class Tokens:
    """Tokens as they are."""

    formerly: ClassVar[str] = "Verbatim"

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> TokenCodec:
        """The codec that a file describes. Raises UserError for an invalid description."""
        alphabet = from_json(Alphabet, facts or "", "codec")
        if kind not in ("text", "tokens") or len(shape) != 1:  # tokens: in older files
            raise UserError(f"no text, but {kind} of shape {shape}")
        return TokenCodec(shape, alphabet)

    def measure(self, data: Dataset) -> TokenCodec:
        """The codec of this text. Raises UserError for data that is not text."""
        if data.alphabet is None:
            raise UserError(f"{data.name}: {data.kind}, and no text; leave --codec and --net as they are for it")
        return TokenCodec(data.shape, data.alphabet)
