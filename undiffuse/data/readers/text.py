"""Text: one long string, cut into pieces of ``length`` tokens."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.on_disk import OnDisk
from undiffuse.core.paths import path_of
from undiffuse.data.alphabet import Alphabet, Bytes, Characters, PretrainedTokenizer
from undiffuse.data.cache import is_large
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.large_text import large_tokens
from undiffuse.data.readers.place import place
from undiffuse.data.readers.raw import AS_UTF_16, unpacked, utf_16

ENDINGS = (".txt", ".txt.gz", ".text", ".md")
OVERLAP = 8  # training pieces begin every length/8 tokens
HELD_OUT = 0.1  # the last tenth of the text
Unit = Literal["characters", "bytes"]
PLAYS = "tinyshakespeare.txt"
ADVICE = f"get data/tinyshakespeare/input.txt from github.com/karpathy/char-rnn, as {PLAYS}"


def text(
    path: str | Path,
    length: int = 128,
    unit: Unit = "characters",
    tokenizer: str | None = None,
    split: str = "train",
    encoding: str = "utf-8",
) -> Dataset:
    """Pieces of a text file, (count, length) tokens: overlapping ones to train on, one after the other to test.

    The last tenth of the text is held out. Line ends are ``\\n``, whatever the file has.

    Args:
        path: A text file, gzipped or not.
        length: Tokens a piece.
        unit: What a token is, unless there is a ``tokenizer``, the name or folder of a Hugging Face one.
        split: ``"train"``, ``"test"`` or ``"all"``.
        encoding: Of the file; UTF-16 with its mark is read as such, if nothing else is said.

    Raises:
        UserError: An empty or binary file, another encoding (saying where), a text of one character or too short.
    """
    check_split(split)
    if length < 1:
        raise UserError(f"a piece of text has at least 1 token, not {length}")
    path = path_of(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if is_large(0, path.stat().st_size):
        return _large(path, length, split, *large_tokens(path, unit, tokenizer, encoding, HELD_OUT, split))
    whole, notes = whole_text(path, encoding)
    alphabet = alphabet_of(whole, unit, tokenizer)
    tokens = alphabet.encode(whole).to(stored(alphabet))
    if len(tokens.unique()) < 2:
        raise UserError(f"{path}: all of its {len(tokens):,} tokens are the same; there is nothing to learn")
    note = f"{len(tokens):,} tokens, {alphabet.describe()}"
    x = cut(path, tokens, length, split)
    return Dataset(x, kind="text", alphabet=alphabet, notes=(note, *notes), name=path.name)


def alphabet_of(whole: str, unit: Unit, tokenizer: str | None) -> Alphabet:
    """What the tokens of a text are."""
    if tokenizer:
        return PretrainedTokenizer(tokenizer)
    return Bytes() if unit == "bytes" else Characters.of(whole)


def stored(alphabet: Alphabet) -> torch.dtype:
    """How the tokens of an alphabet are kept."""
    return torch.uint8 if alphabet.size <= 256 else torch.int32


def cut(path: Path, tokens: Tensor, length: int, split: str) -> Tensor:
    """The pieces of a text (tokens,): (count, length). Raises UserError if it is too short for them."""
    kept = len(tokens) - max(round(HELD_OUT * len(tokens)), 2 * length)
    if kept < 2 * length:
        shorter = f", or shorter pieces: --data.length {len(tokens) // 4}" if len(tokens) >= 4 else ""
        raise UserError(
            f"{path}: {len(tokens):,} tokens are too few for pieces of {length}; at least {4 * length} are "
            f"needed{shorter}"
        )
    part = {"train": tokens[:kept], "test": tokens[kept:], "all": tokens}[split]
    return part.unfold(0, length, _step(length, split))


def _large(path: Path, length: int, split: str, part: OnDisk, alphabet: Alphabet, notes: list[str]) -> Dataset:
    """The same of tokens that lie in a file."""
    if len(part) < 2 * length:
        raise UserError(f"{path}: {len(part):,} tokens are too few for pieces of {length}; give --data.length")
    x, note = part.pieces(length, _step(length, split)), f"{len(part):,} tokens, {alphabet.describe()}"
    return Dataset(x, kind="text", alphabet=alphabet, notes=(note, *notes), name=path.name)


def _step(length: int, split: str) -> int:
    """How many tokens after the other pieces begin."""
    return length if split == "test" else max(1, length // OVERLAP)


def shakespeare(path: str | Path | None = None) -> Path:
    """Where a million characters of Shakespeare's plays lie ("tiny Shakespeare", public domain).

    Raises UserError where they are not, saying where they can be had.
    """
    found = place("text", None if path is None else str(path), ADVICE)
    file = found / PLAYS if found.is_dir() else found
    if not file.is_file():
        raise UserError(f"{found}: holds no {PLAYS}; {ADVICE}")
    return file


def whole_text(path: Path, encoding: str) -> tuple[str, list[str]]:
    """The file as a string, with its line ends made one; and a note, if it was found to be UTF-16."""
    raw = unpacked(path)
    found = utf_16(path, raw) if encoding == "utf-8" else None
    whole = _decoded(path, raw, encoding) if found is None else found
    if not whole.strip():
        raise UserError(f"{path}: empty")
    if "\0" in whole:
        raise UserError(f"{path}: not a text file, it holds zero bytes")
    return whole.replace("\r\n", "\n").replace("\r", "\n"), [] if found is None else [AS_UTF_16]


def _decoded(path: Path, raw: bytes, encoding: str) -> str:
    """The text that the bytes are in an encoding."""
    try:
        return raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        hint = (
            "not a text file" if b"\0" in raw[:4096] else "say which encoding it has, such as --data.encoding latin-1"
        )
        raise UserError(
            f"{path}: no {encoding} text (byte {error.start:,}: 0x{raw[error.start]:02x}); {hint}"
        ) from None
    except LookupError:
        raise UserError(f"no encoding is called {encoding!r}; try utf-8, utf-16 or latin-1") from None
