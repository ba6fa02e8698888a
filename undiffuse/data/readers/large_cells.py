"""The cells of a .csv or .tsv file that is too large for memory, row by row."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from undiffuse.core.errors import UserError
from undiffuse.data.cache import is_large
from undiffuse.data.readers.cells import AS_WINDOWS, WrittenRow, delimiter_of, split_rows
from undiffuse.data.readers.raw import AS_UTF_16, DAMAGED, begins_as_utf_16

PART = 1 << 22  # characters that are read together
CELLS = 8  # bytes that a byte of the file takes in memory, as cells: at least


def are_large(path: Path) -> bool:
    """Whether the cells of a file are too many for memory."""
    return is_large(0, CELLS * path.stat().st_size)


def large_cells(path: Path) -> tuple[Iterator[WrittenRow], list[str]]:
    """Rows, as `undiffuse.data.readers.cells.read_cells` reads them, of any length; and notes.

    Raises UserError for a file that is not text, or damaged.
    """
    how, notes = _encoding(path)
    with _opened(path, **how) as file:
        first = next((line for line in file if line.strip()), "")
    return _rows(path, how, delimiter_of(first, ",")), notes


def first_rows(path: Path, count: int) -> list[WrittenRow]:
    """The first rows, without a look at the others."""
    encoding = "utf-16" if begins_as_utf_16(path) else "utf-8-sig"
    with _opened(path, encoding=encoding, errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
        return list(islice(split_rows(path, chain([first], file), delimiter_of(first, ",")), count))


def _rows(path: Path, how: dict[str, str], delimiter: str) -> Iterator[WrittenRow]:
    with _opened(path, **how) as file:
        yield from split_rows(path, file, delimiter)


def _encoding(path: Path) -> tuple[dict[str, str], list[str]]:
    """How the file is to be opened, and a note if it is not in UTF-8."""
    how, notes = {"encoding": "utf-8-sig"}, list[str]()
    if begins_as_utf_16(path):
        how, notes = {"encoding": "utf-16"}, [AS_UTF_16]
    try:
        with _opened(path, **how) as file:
            while part := file.read(PART):
                if "\0" in part:
                    raise UserError(f"{path}: not text, it holds zero bytes")
    except UnicodeDecodeError as error:
        if notes:
            raise UserError(f"{path}: damaged, or not text in UTF-16 ({error})") from None
        return {"encoding": "cp1252", "errors": "replace"}, [AS_WINDOWS]
    return how, notes


@contextmanager
def _opened(path: Path, **how: Any) -> Iterator[IO[str]]:
    opening: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opening(path, "rt", newline="", **how) as file:
            yield file
    except DAMAGED as error:
        raise UserError(f"{path}: a damaged gzip file ({error})") from None
