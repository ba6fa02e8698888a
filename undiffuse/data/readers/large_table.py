"""A table that is too large for memory: its cells are transposed on disk, column by column, and each column is read.

    file -> a file of cells for each column -> what it is, and its values -> rows that are mapped from then on

In memory is one column at a time: of 5 million rows, as many cells. The columns are what they would be in memory.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from undiffuse.core.configuration import from_values, to_values
from undiffuse.core.errors import UserError
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset, held_out
from undiffuse.data.readers.cells import COUNTS_ROWS, WrittenRow, is_header, uneven
from undiffuse.data.readers.detect import detect
from undiffuse.data.readers.large_cells import large_cells
from undiffuse.data.readers.table import Header, given_types, named
from undiffuse.data.whole import KeptWhole, entry_of, kept_whole

LOOKED, BLOCK = 1001, 1 << 16  # rows in which a header is looked for, and that are transposed together
END = "\0"  # of a cell: no text has it


class Transposed(NamedTuple):
    """Files of cells, one for each column, the names of the columns if there is a header, and the line of each row."""

    files: list[Path]
    names: list[str]
    lines: np.ndarray

    def cells(self, column: int) -> list[str]:
        """Of one column."""
        return self.files[column].read_bytes().decode("utf-8").split(END)[:-1]

    def begins_with_index(self) -> bool:
        """Whether the first of several columns is the index that pandas writes."""
        counted = self.names[:1] == [""] and len(self.files) > 1
        return counted and self.cells(0) == [str(row) for row in range(len(self.lines))]


def large_table(
    path: Path, types: Sequence[str], names: Sequence[str], header: Header, frequent: int, split: str
) -> Dataset:
    """The part of a table; as `undiffuse.data.readers.table.read_table` reads it, and as it raises."""
    place = entry_of(path, "table", *types, "names", *names, header, frequent)

    def write(file: Path) -> KeptWhole:
        with TemporaryDirectory(dir=file.parent) as folder:
            found, notes = _transposed(path, Path(folder), names, header)
            return _detected(path, found, notes, (types, names, frequent), file)

    x, facts = kept_whole(place, write, split)
    schema: tuple[Column, ...] = from_values(tuple[Column, ...], facts["schema"])
    columns, said = tuple(column.name for column in schema), f"read once, and kept in {place.folder}"
    return Dataset(x, kind="table", columns=columns, schema=schema, notes=(*facts["notes"], said), name=path.name)


def _transposed(path: Path, folder: Path, names: Sequence[str], header: Header) -> tuple[Transposed, list[str]]:
    rows, notes = large_cells(path)
    first = list(islice(rows, LOOKED))
    if not first:
        raise UserError(f"{path}: empty; at least 2 rows are needed")
    has_header = header == "yes" or (header == "auto" and not names and is_header(first))
    width = Counter(len(row.cells) for row in first).most_common(1)[0][0]
    even = _even(path, chain(first, rows), width)
    above = next(even).cells if has_header else []
    files, lines = [folder / str(column) for column in range(width)], []
    while block := list(islice(even, BLOCK)):
        lines.append(np.array([row.line for row in block]))
        for file, cells in zip(files, zip(*(row.cells for row in block), strict=True), strict=True):
            with file.open("ab") as out:
                out.write("".join(cell + END for cell in cells).encode("utf-8"))
    if not lines:
        raise UserError(f"{path}: no rows below its header")
    return Transposed(files, above, np.concatenate(lines)), notes


def _even(path: Path, rows: Iterator[WrittenRow], width: int) -> Iterator[WrittenRow]:
    """Rows of one length; empty ones are skipped, as in a table of several columns they are empty lines."""
    for row in rows:
        if len(row.cells) == width:
            yield row
        elif row.cells != [""]:
            raise uneven(path, row, width)


def _detected(
    path: Path,
    found: Transposed,
    notes: list[str],
    asked: tuple[Sequence[str], Sequence[str], int],
    file: Path,
) -> KeptWhole:
    """Every column, written into the rows: those that are trained on come first."""
    types, names, frequent = asked
    if names and len(names) != len(found.files):
        raise UserError(f"{path}: {len(names)} names for {len(found.files)} columns")
    labelled = named(list(names) or found.names or [""] * len(found.files), notes if found.names else [])
    places = list(range(len(found.files)))
    if found.begins_with_index():
        notes.append(COUNTS_ROWS)
        labelled, places = labelled[1:], places[1:]
    is_test = held_out(len(found.lines), None, {}, path.name).numpy()
    order = np.concatenate([np.flatnonzero(~is_test), np.flatnonzero(is_test)])
    schema, of = [], given_types(types, labelled)
    for k, (name, place) in enumerate(zip(labelled, places, strict=True)):
        column, values, said = _column(path, found, name, place, of, frequent)
        rows = np.memmap(file, np.float64, "r+" if k else "w+", shape=(len(order), len(places)))
        rows[:, k] = values[order]
        rows.flush()
        schema.append(to_values(column))
        notes.extend(said)
    held = int(is_test.sum())
    return KeptWhole("float64", (len(places),), len(order) - held, held, {"schema": schema, "notes": notes})


def _column(
    path: Path, found: Transposed, name: str, place: int, types: Mapping[str, str], frequent: int
) -> tuple[Column, np.ndarray, tuple[str, ...]]:
    try:
        return detect(name, found.cells(place), found.lines.tolist(), types.get(name), frequent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
