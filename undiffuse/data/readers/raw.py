"""A file of text before its encoding is known: unpacked, and read as UTF-16 where its first bytes say so."""

import gzip
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from undiffuse.core.errors import UserError

DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # of a gzip file
AS_UTF_16 = "read as UTF-16, as its first bytes say"  # a note


def unpacked(path: Path) -> bytes:
    """The bytes of a file, gzipped (.gz) or not. Raises UserError where they are damaged."""
    raw = path.read_bytes()
    if path.suffix.lower() != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except DAMAGED as error:
        raise UserError(f"{path}: a damaged gzip file ({error})") from None


def begins_as_utf_16(path: Path) -> bool:
    """Whether a file, gzipped or not, begins with the mark of UTF-16."""
    return beginning(path, 2) in (BOM_UTF16_LE, BOM_UTF16_BE)


def beginning(path: Path, size: int) -> bytes:
    """The first bytes of a file, gzipped or not. Raises UserError where they are damaged."""
    opening = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opening(path, "rb") as file:
            return bytes(file.read(size))
    except DAMAGED as error:
        raise UserError(f"{path}: a damaged gzip file ({error})") from None


def utf_16(path: Path, raw: bytes) -> str | None:
    """The text of bytes that begin with the mark of UTF-16, else None. Raises UserError where the rest is none."""
    if not raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return None
    try:
        return raw.decode("utf-16")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: damaged, or not text in UTF-16 ({error})") from None
