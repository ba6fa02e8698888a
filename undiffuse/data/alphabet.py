"""Alphabets: between text and tokens 0 ... size - 1, and back without loss.

`Characters` every character that a text has; `Bytes` of its UTF-8; `PretrainedTokenizer`, one of Hugging Face
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undiffuse.core.errors import UserError


@dataclass(frozen=True)
class Characters:
    """One token a character; ``symbols`` sorted, each of one character. Raises UserError for others."""

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if list(self.symbols) != sorted(set(self.symbols)) or any(len(symbol) != 1 for symbol in self.symbols):
            raise UserError("an alphabet is characters, each once, in order")

    @classmethod
    def of(cls, text: str) -> "Characters":
        """All characters that occur in a text."""
        return cls(tuple(sorted(set(text))))

    @property
    def size(self) -> int:
        """The number of characters."""
        return len(self.symbols)

    def encode(self, text: str) -> Tensor:
        """(length,) int64. Raises `UserError` for an unknown character, and lists the known ones."""
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        place = np.searchsorted(self._codes, codes).clip(max=self.size - 1)
        unknown = codes[self._codes[place] != codes]
        if len(unknown):
            raise UserError(f"the character {chr(int(unknown[0]))!r} is not known; this text has {self.describe()}")
        return torch.from_numpy(place.astype(np.int64))

    def decode(self, tokens: Tensor) -> str:
        """The text of (length,) tokens."""
        return "".join(self.symbols[token] for token in tokens.tolist())

    def describe(self) -> str:
        """In words."""
        return f"{self.size} characters: {''.join(self.symbols)!r}"

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.array([ord(symbol) for symbol in self.symbols], np.uint32)


@dataclass(frozen=True)
class Bytes:
    """One token a byte, 256 in all: any text, and no unknown character."""

    @property
    def size(self) -> int:
        """256."""
        return 256

    def encode(self, text: str) -> Tensor:
        """(bytes,) int64."""
        return torch.from_numpy(np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64))

    def decode(self, tokens: Tensor) -> str:
        """The text; bytes that are no UTF-8 become the replacement character."""
        return bytes(tokens.tolist()).decode("utf-8", errors="replace")

    def describe(self) -> str:
        """In words."""
        return "256 bytes"


@dataclass(frozen=True)
class PretrainedTokenizer:
    """A Hugging Face tokenizer, by its name on the hub or its folder: the extra ``text`` (transformers)."""

    path: str

    @property
    def size(self) -> int:
        """The size of its vocabulary, including added tokens."""
        return len(self._tokenizer)

    def encode(self, text: str) -> Tensor:
        """(tokens,) int64, without special tokens."""
        return torch.tensor(self._tokenizer.encode(text, add_special_tokens=False), dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """The text."""
        return str(self._tokenizer.decode(tokens.tolist()))

    def describe(self) -> str:
        """In words."""
        return f"{self.size:,} tokens of {self.path}"

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise UserError("a tokenizer needs transformers: pip install 'undiffuse[text]'") from None
        try:
            return AutoTokenizer.from_pretrained(self.path)
        except Exception as error:  # a tokenizer from elsewhere may raise any error
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self.path}: no tokenizer there ({reason})") from None


Alphabet = Characters | Bytes | PretrainedTokenizer


def type_for(alphabet: Alphabet) -> torch.dtype:
    """The smallest type of torch that holds the tokens and does arithmetic."""
    return next(of for of in (torch.uint8, torch.int16, torch.int32) if alphabet.size <= torch.iinfo(of).max + 1)
