"""Tables: a .csv or .tsv file of numbers, dates and categories, some of them missing, read so that nothing is lost.

What is decided on the way (names given, cells taken together) is in the data's notes; what cannot be is a `UserError`
that names line and column.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from undiffuse.core.errors import UserError, nearest
from undiffuse.core.files import write_csv
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.cells import COUNTS_ROWS, by_column, is_header, read_cells
from undiffuse.data.readers.detect import detect, meanings

Header = Literal["auto", "yes", "no"]


def read_table(
    path: Path, types: Sequence[str] = (), names: Sequence[str] = (), header: Header = "auto", frequent: int = 255
) -> Dataset:
    """The table in a file, gzipped or not.

    - Cells are read, and a header is found (`is_header`), by `undiffuse.data.readers.cells`, unless ``header`` says
      whether there is one. ``names`` are given to a file without.
    - A column without a name that counts the rows, as pandas writes it, is left out; another is named by its place.
      Of columns of one name the later ones are numbered.
    - Types are detected (`undiffuse.data.readers.detect`) unless ``types`` says: "age=number", "zip=category".

    Raises:
        UserError: No rows, no table, rows of unequal length, or cells that do not fit their column.
    """
    rows, notes = read_cells(path)
    columns = by_column(path, rows, header == "yes" or (header == "auto" and not names and is_header(rows)))
    if names and len(names) != len(columns.cells):
        raise UserError(f"{path}: {len(names)} names for {len(columns.cells)} columns")
    labelled = named(list(names) or columns.names or [""] * len(columns.cells), notes if columns.names else [])
    cells = columns.cells
    if columns.begins_with_index():
        notes.append(COUNTS_ROWS)
        labelled, cells = labelled[1:], cells[1:]
    types_of = given_types(types, labelled)
    try:
        found = [
            detect(name, of, columns.lines, types_of.get(name), frequent)
            for name, of in zip(labelled, cells, strict=True)
        ]
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
    write_csv(path, [column.name for column in schema], cells_of(schema, x))


def read_rows(path: Path, schema: Sequence[Column]) -> torch.Tensor:
    """Rows of a file with a header, float64 (count, columns) in the order of ``schema``: NaN where a cell is missing.

    For tables with holes: columns that the file lacks are missing throughout. Columns are named as `read_table` names
    them. A first one without a name and of whole numbers, which the schema lacks, is what counted the rows of the
    whole table, and is left out.

    Raises:
        UserError: No rows, columns that the schema lacks, and cells that it cannot hold, with their line.
    """
    header, lines, cells = by_column(path, read_cells(path)[0], header=True)
    known = {column.name: k for k, column in enumerate(schema)}
    places = dict(enumerate(named(header, [])))
    if header[0] == "" and places[0] not in known and all(cell.isdecimal() for cell in cells[0]):
        del places[0]
    x = np.full((len(lines), len(schema)), np.nan)
    for place, name in places.items():
        if name not in known:
            raise UserError(f"{path}: {nearest(name, known, 'column')}")
        try:
            meaning = meanings(schema[known[name]], cells[place], lines)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        x[:, known[name]] = [meaning[cell] for cell in cells[place]]
    return torch.from_numpy(x)


def named(names: list[str], notes: list[str]) -> list[str]:
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


def given_types(types: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Kinds by column, from words like age=number."""
    found = {}
    for word in types:
        name, equals, kind = (part.strip() for part in word.rpartition("="))
        if not equals:
            raise UserError(f"types are said as COLUMN=KIND, such as zip=category, not {word!r}")
        if name not in names:
            raise UserError(nearest(name, names, "column"))
        found[name] = kind
    return found
