"""The cells of a .csv or .tsv file, gzipped or not, as text; their meaning is found elsewhere."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from undiffuse.core.errors import UserError
from undiffuse.data.readers.raw import AS_UTF_16, unpacked, utf_16

DELIMITERS = "\t;|,"
LARGEST = 1 << 24  # characters in a cell
AS_WINDOWS = "not UTF-8: read as Windows-1252 (Latin-1)"  # a note
COUNTS_ROWS = "the unnamed column that counts the rows was left out"  # a note


class WrittenRow(NamedTuple):
    """Stripped cells, and the line of the file that they end in."""

    line: int
    cells: list[str]


class Columns(NamedTuple):
    """Cells by column, the line of each row, and what the header calls the columns; no names without one."""

    names: list[str]
    lines: list[int]
    cells: list[tuple[str, ...]]

    def begins_with_index(self) -> bool:
        """Whether the first of several is the index that pandas writes: no name, and 0, 1, 2, ..."""
        counted = tuple(map(str, range(len(self.lines))))
        return self.names[:1] == [""] and len(self.cells) > 1 and self.cells[0] == counted


def read_cells(path: Path, numbers: bool = False) -> tuple[list[WrittenRow], list[str]]:
    """Rows of equal length, a header too, and notes. Empty lines are skipped.

    The text is UTF-8, UTF-16 with its mark, or else Windows-1252, with a note. The delimiter is the first of tab,
    semicolon, bar and comma that the first line has. ``numbers`` may also be written as NumPy does: blanks delimit them
    where none of these does, and lines that start with # are skipped.

    Raises:
        UserError: No rows, no text, or rows of unequal length, with the line's number.
    """
    text, notes = _text(path)
    first = next((line for line in _lines(text, numbers) if line.strip()), "")
    delimiter = delimiter_of(first, " " if numbers else ",")
    lines = _lines(text, numbers)
    if delimiter == " ":
        lines = (" ".join(line.split()) for line in lines)
    rows = list(split_rows(path, lines, delimiter))
    usual = Counter(len(row.cells) for row in rows).most_common(1)[0][0] if rows else 0
    if usual > 1:
        rows = [row for row in rows if row.cells != [""]]
    if not any(any(row.cells) for row in rows):
        raise UserError(f"{path}: empty; at least 2 rows are needed")
    for row in rows:
        if len(row.cells) != usual:
            raise uneven(path, row, usual)
    return rows, notes


def delimiter_of(line: str, otherwise: str) -> str:
    """The first of tab, semicolon, bar and comma that a line has."""
    return next((mark for mark in DELIMITERS if mark in line), otherwise)


def split_rows(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[WrittenRow]:
    """Rows of any length. Raises UserError, with its line, for a quote that is not closed."""
    csv.field_size_limit(LARGEST)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        yield from (WrittenRow(reader.line_num, [cell.strip() for cell in row]) for row in reader if row)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; is a quote not closed?") from None


def uneven(path: Path, row: WrittenRow, usual: int) -> UserError:
    """What is wrong with a row of another length."""
    return UserError(f"{path}: line {row.line} has {len(row.cells)} cells, most have {usual}; correct or remove it")


def by_column(path: Path, rows: Sequence[WrittenRow], header: bool) -> Columns:
    """Rows as columns, named by the first row if it is a ``header``. Raises UserError where no other row is left."""
    below = rows[header:]
    if not below:
        raise UserError(f"{path}: no rows below its header")
    cells = list(zip(*(row.cells for row in below), strict=True))
    return Columns(rows[0].cells if header else [], [row.line for row in below], cells)


def is_header(rows: Sequence[WrittenRow]) -> bool:
    """Whether the first row names the columns.

    None of its cells is a number or "?"; and either no column holds its word again, or some column below is of numbers.
    """
    (_, first), *rest = rows
    if not any(first) or any(map(_reads_as_number, first)):
        return False
    columns = list(zip(first, *(row.cells for row in rest[:1000]), strict=True))
    recurs = any(name in cells for name, *cells in columns)
    return not recurs or any(2 * sum(map(_reads_as_number, cells)) > len(cells) for _, *cells in columns)


def number_of(cell: str) -> float | None:
    """A cell as a number; None for text."""
    try:
        return float(cell)
    except ValueError:
        return None


def _reads_as_number(cell: str) -> bool:
    return cell == "?" or number_of(cell) is not None


def _text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note if it was not in UTF-8."""
    raw = unpacked(path)
    found = utf_16(path, raw)
    if found is not None:
        return found, [AS_UTF_16]
    if b"\0" in raw:
        raise UserError(f"{path}: not text, it holds zero bytes")
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), [AS_WINDOWS]


def _lines(text: str, numbers: bool) -> Iterator[str]:
    """The lines; among ``numbers`` a comment is an empty one."""
    lines = io.StringIO(text, newline="")
    return ("" if line.startswith("#") else line for line in lines) if numbers else lines
