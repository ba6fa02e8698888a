"""Tables: a .csv or .tsv file of numbers, dates and categories, some of them missing, read so that nothing is lost.

What is decided on the way (names given, cells taken together) is in the data's notes; what cannot be is a `UserError`
that names line and column.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from undiffuse.core.errors import UserError, nearest
from undiffuse.core.files import write_atomically
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.detect import detect
from undiffuse.data.readers.raw import AS_UTF_16, unpacked, utf_16

Header = Literal["auto", "yes", "no"]
DELIMITERS = "\t;|,"
LARGEST = 1 << 24  # characters in a cell


def read_table(
    path: Path, types: Sequence[str] = (), names: Sequence[str] = (), header: Header = "auto", frequent: int = 255
) -> Dataset:
    """The table in a file, gzipped or not.

    - The delimiter is the first of tab, semicolon, bar and comma that the first line has. Blanks around cells are not
      theirs; empty lines are skipped. The text is UTF-8, UTF-16 with its mark, or else Windows-1252, with a note.
    - The first line is a header if none of its fields is a number or "?", and either no column holds its word again or
      some column below is of numbers; ``header`` says otherwise. ``names`` are given to a file without.
    - A column without a name that counts the rows, as pandas writes it, is left out; another is named by its place.
      Of columns of one name the later ones are numbered.
    - Types are detected (`undiffuse.data.readers.detect`) unless ``types`` says: "age=number", "zip=category".

    Raises:
        UserError: No rows, no table, rows of unequal length, or cells that do not fit their column.
    """
    text, notes = _text(path)
    rows = _rows(path, text)
    has_header = header == "yes" or (header == "auto" and not names and _is_header([row for _, row in rows]))
    given = rows[0][1] if has_header else []
    if names and len(names) != len(rows[0][1]):
        raise UserError(f"{path}: {len(names)} names for {len(rows[0][1])} columns")
    labelled = _named(list(names) or given or [""] * len(rows[0][1]), notes if given else [])
    rows = rows[has_header:]
    if len(rows) < 2:
        raise UserError(f"{path}: {len(rows)} rows; at least 2 are needed")
    lines, cells = [line for line, _ in rows], list(zip(*(row for _, row in rows), strict=True))
    if given and given[0] == "" and cells[0] == tuple(map(str, range(len(rows)))) and len(cells) > 1:
        notes.append("the unnamed column that counts the rows was left out")
        cells, labelled = cells[1:], labelled[1:]
    asked = _types(types, labelled)
    try:
        found = [detect(name, of, lines, asked.get(name), frequent) for name, of in zip(labelled, cells, strict=True)]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Dataset(
        torch.from_numpy(np.stack([column.values for column in found], 1)),
        kind="table",
        columns=tuple(labelled),
        schema=tuple(column.column for column in found),
        notes=(*notes, *(note for column in found for note in column.notes)),
        name=path.name,
    )


def cells_of(schema: Sequence[Column], x: torch.Tensor) -> list[list[str]]:
    """Rows (count, columns) as they are written."""
    columns = [
        [column.write(value) for value in values] for column, values in zip(schema, x.double().T.tolist(), strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def write_table(schema: Sequence[Column], x: torch.Tensor, path: Path) -> None:
    """Rows (count, columns) as a .csv with a header, or .tsv: whole, or not at all."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([[column.name for column in schema], *cells_of(schema, x)])

    write_atomically(path, write)


def read_rows(path: Path, schema: Sequence[Column]) -> torch.Tensor:
    """Rows of a file with a header, float64 (count, columns) in the order of ``schema``: NaN where a cell is missing.

    For tables with holes: columns that the file lacks are missing throughout. Columns are named as `read_table` names
    them. A first one without a name and of whole numbers, which the schema lacks, is what counted the rows of the
    whole table, and is left out.

    Raises:
        UserError: No rows, columns that the schema lacks, and cells that it cannot hold, with their line.
    """
    text, _ = _text(path)
    (_, header), *rows = _rows(path, text)
    if not rows:
        raise UserError(f"{path}: no rows below its header; at least 1 is needed")
    known = {column.name: k for k, column in enumerate(schema)}
    places = dict(enumerate(_named(header, [])))
    if header[0] == "" and places[0] not in known and all(row[0].isdecimal() for _, row in rows):
        del places[0]
    x = np.full((len(rows), len(schema)), np.nan)
    for place, name in places.items():
        if name not in known:
            raise UserError(f"{path}: {nearest(name, known, 'column')}")
        column, meaning = schema[known[name]], {}
        for k, (line, row) in enumerate(rows):
            cell = row[place]
            if cell not in meaning:
                try:
                    meaning[cell] = column.value(cell)
                except UserError as error:
                    raise UserError(f"{path}: line {line}: {error}") from None
            x[k, known[name]] = meaning[cell]
    return torch.from_numpy(x)


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
        return raw.decode("cp1252", errors="replace"), ["not UTF-8: read as Windows-1252 (Latin-1)"]


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Lines and their cells. Raises `UserError` for none, or for rows of unequal length."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    csv.field_size_limit(LARGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}; is a quote not closed?") from None
    if len(rows) > 1 and len(rows[0][1]) > 1:
        rows = [(line, row) for line, row in rows if len(row) > 1 or row[0]]
    if not rows:
        raise UserError(f"{path}: empty; at least 2 rows are needed")
    usual = Counter(len(row) for _, row in rows).most_common(1)[0][0]
    for line, row in rows:
        if len(row) != usual:
            raise UserError(f"{path}: line {line} has {len(row)} cells, most have {usual}; correct or remove it")
    return rows


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first of the rows names columns."""
    first, *rest = rows
    if any(_reads_as_number(cell) for cell in first) or not any(first) or not rest:
        return False
    columns = [(name, cells) for name, *cells in zip(first, *rest[:1000], strict=True)]
    recurs = any(name in cells for name, cells in columns)
    return not recurs or any(sum(map(_reads_as_number, cells)) > len(cells) / 2 for _, cells in columns)


def _reads_as_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "?"
    return True


def _named(names: list[str], notes: list[str]) -> list[str]:
    """Names for all columns, each once."""
    made: list[str] = []
    for k, name in enumerate(names):
        unique = name or f"column {k + 1}"
        if not name:
            notes.append(f"column {k + 1} has no name, and is called {unique!r}")
        again = 2
        while unique in made:
            unique, again = f"{name or f'column {k + 1}'} ({again})", again + 1
        if name and unique != name:
            notes.append(f"another column {name!r} is called {unique!r}")
        made.append(unique)
    return made


def _types(types: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Kinds by column, from words like age=number."""
    asked = {}
    for word in types:
        name, equals, kind = (part.strip() for part in word.rpartition("="))
        if not equals:
            raise UserError(f"types are said as COLUMN=KIND, such as zip=category, not {word!r}")
        if name not in names:
            raise UserError(nearest(name, names, "column"))
        asked[name] = kind
    return asked
