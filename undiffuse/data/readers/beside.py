"""The conditions of pictures, in a file beside them: ``conditions.csv``, one row for each picture.

    file,age,species
    cats/one.png,3,tabby
    two.png,11,

The first column names a picture: its path in the folder, or only its name if no other picture has it. A column of
numbers is a numeric condition, a column of words a label or, where most cells differ, of captions, and an empty cell is
an absent condition. Pictures without a
row have no conditions, and rows without a picture are left out; a note says so.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from undiffuse.core.errors import UserError
from undiffuse.data.conditioned import Specified, of_columns, rows_of
from undiffuse.data.readers.table import read_table

FILE = "conditions.csv"
CAPTIONS = 0.5  # a column of text of which more than this share of the cells differ is no category


class Beside(NamedTuple):
    """Conditions of pictures, captions by the place of the picture, and notes."""

    specified: Specified
    captions: dict[int, list[str]]
    notes: list[str]


def beside(folder: Path, pictures: Sequence[Path]) -> Beside:
    """The conditions of ``pictures``, in their order; nothing where there is no such file.

    Raises UserError for a file that is no table, names no picture at all, or one twice.
    """
    path = folder / FILE
    if not path.is_file():
        return Beside(({}, {}), {}, [])
    data = read_table(path, header="yes")
    files, *columns = data.schema
    if not columns:
        raise UserError(f"{path}: one column; beside the pictures' names there must be a condition")
    named = [files.write(value) for value in data.x[:, 0].tolist()]
    places = places_of(folder, pictures)
    rows = [places.get(Path(name).as_posix()) for name in named]
    found = [k for k, row in enumerate(rows) if row is not None]
    chosen = [row for row in rows if row is not None]
    if not found:
        raise UserError(f"{path}: its first column names no picture of the folder; {named[0]!r} is not there")
    if len(set(chosen)) < len(chosen):
        twice = next(name for name, row in zip(named, rows, strict=True) if row is not None and chosen.count(row) > 1)
        raise UserError(f"{path}: {twice!r} is named twice; keep one of its rows")
    texts = [c for c in columns if not c.is_number and len(c.categories) > max(20, CAPTIONS * len(named))]
    told = tuple(f"{column.name}:" for column in (files, *texts))
    notes = [note for note in data.notes if not note.startswith(told)]
    if len(found) < len(named):
        lost = next(name for name, row in zip(named, rows, strict=True) if row is None)
        notes.append(f"{FILE} names {len(named) - len(found)} pictures that are not there, such as {lost!r}: left out")
    if len(found) < len(pictures):
        bare = pictures[min(set(range(len(pictures))) - set(chosen))].relative_to(folder)
        notes.append(f"{len(pictures) - len(found)} pictures are not in {FILE}, such as {bare}: without conditions")
    kept = [k for k, column in enumerate(data.schema) if k and column not in texts]
    more = of_columns([data.schema[k] for k in kept], data.x[found][:, kept])
    said = [
        [data.schema[k].write(value) for k, value in enumerate(row) if data.schema[k] in texts]
        for row in data.x.tolist()
    ]
    captions = {row: [text for text in cells if text] for row, cells in zip(rows, said, strict=True) if row is not None}
    return Beside(rows_of(len(pictures), torch.tensor(chosen), more), captions if texts else {}, notes)


def places_of(folder: Path, pictures: Sequence[Path]) -> dict[str, int]:
    """The picture that a name means: a path within the folder, or a name that only one picture has."""
    places: dict[str, int] = {}
    often = Counter(path.name for path in pictures)
    for k, path in enumerate(pictures):
        if often[path.name] == 1:
            places[path.name] = k
    return places | {path.relative_to(folder).as_posix(): k for k, path in enumerate(pictures)}
