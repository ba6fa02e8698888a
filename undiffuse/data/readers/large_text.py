"""A text that is too large for memory: read in parts, once, into a file of tokens that is mapped from then on.

Characters and bytes are the tokens that they would be in memory. A tokenizer sees parts that end with a line, so that
no word is cut, as far as lines are shorter than a part.
"""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import wrap_file

from undiffuse.core.configuration import from_values, to_values
from undiffuse.core.errors import UserError
from undiffuse.core.on_disk import OnDisk
from undiffuse.data.alphabet import Alphabet, Bytes, Characters, PretrainedTokenizer, type_for
from undiffuse.data.readers.raw import AS_UTF_16, DAMAGED, begins_as_utf_16
from undiffuse.data.whole import KeptWhole, entry_of, kept_whole

PART = 1 << 22  # characters that are read together


def large_tokens(
    path: Path, unit: str, tokenizer: str | None, encoding: str, held_out: float, split: str
) -> tuple[OnDisk, Alphabet, list[str]]:
    """The tokens of a part of the text (count,), its alphabet, and notes; ``held_out`` is the share at the end.

    Raises UserError as `undiffuse.data.readers.text.text` does.
    """
    is_utf_16 = encoding == "utf-8" and begins_as_utf_16(path)
    reads = "utf-16" if is_utf_16 else "utf-8-sig" if encoding == "utf-8" else encoding
    place = entry_of(path, "tokens", unit, tokenizer, encoding)

    def write(file: Path) -> KeptWhole:
        alphabet = _alphabet(path, unit, tokenizer, reads)
        count, least, most = 0, alphabet.size, 0
        with file.open("wb") as out:
            for part in _parts(path, reads, "encoding"):
                tokens = alphabet.encode(part)
                count, least, most = count + len(tokens), min(least, int(tokens.min())), max(most, int(tokens.max()))
                out.write(tokens.to(type_for(alphabet)).numpy().data)
        if least >= most:
            raise UserError(f"{path}: all of its {count:,} tokens are the same; there is nothing to learn")
        test, dtype = round(held_out * count), str(type_for(alphabet)).removeprefix("torch.")
        return KeptWhole(dtype, (), count - test, test, {"alphabet": to_values(alphabet, Alphabet)})

    tokens, facts = kept_whole(place, write, split)
    notes = [f"encoded once, and kept in {place.folder}", *([AS_UTF_16] if is_utf_16 else [])]
    return tokens, from_values(Alphabet, facts["alphabet"]), notes


def _alphabet(path: Path, unit: str, tokenizer: str | None, encoding: str) -> Alphabet:
    if tokenizer:
        return PretrainedTokenizer(tokenizer)
    if unit == "bytes":
        return Bytes()
    symbols: set[str] = set()
    for part in _parts(path, encoding, "looking for the characters of"):
        symbols |= set(part)
    return Characters(tuple(sorted(symbols)))


def _parts(path: Path, encoding: str, what: str) -> Iterator[str]:
    """The text in parts, with its line ends made one. Raises UserError where it is none, or empty."""
    written = False
    with _opened(path, encoding, what) as text:
        try:
            while part := text.read(PART):
                part += text.readline(PART)
                if "\0" in part:
                    raise UserError(f"{path}: not a text file, it holds zero bytes")
                written = written or bool(part.strip())
                yield part
        except UnicodeDecodeError as error:
            wrong = f"no {error.encoding} text (0x{error.object[error.start]:02x} is none)"
            raise UserError(f"{path}: {wrong}; say which encoding it has, such as --data.encoding latin-1") from None
        except DAMAGED as error:
            raise UserError(f"{path}: a damaged gzip file ({error})") from None
    if not written:
        raise UserError(f"{path}: empty")


@contextmanager
def _opened(path: Path, encoding: str, what: str) -> Iterator[TextIO]:
    """The file as text, gzipped or not, with a bar that says how much of it is left."""
    console = Console(stderr=True)
    with (
        path.open("rb") as raw,
        wrap_file(
            raw,
            total=path.stat().st_size,
            description=f"{what} {path.name}",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as seen,
    ):
        inner = gzip.GzipFile(fileobj=seen) if path.suffix.lower() == ".gz" else seen
        try:
            text = io.TextIOWrapper(inner, encoding)
        except LookupError:
            raise UserError(f"no encoding is called {encoding!r}; try utf-8, utf-16 or latin-1") from None
        yield text
