"""Data saved to files, as drawings or as numbers; the kind of data chooses among these functions.

.png  a sheet of pictures, or points drawn          .npy  the array alone
.csv  points, a column each, with a header          .npz  "x", and "labels" and "label_names" if there are any

Other conditions than labels are beside them, condition.NAME each: in an .npz as arrays, in a .csv numbers as columns.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from undiffuse.core.errors import UserError, nearest
from undiffuse.core.files import write_atomically, write_csv
from undiffuse.core.origin import KEY, origin, png_text
from undiffuse.core.paths import path_of
from undiffuse.data.alphabet import Alphabet
from undiffuse.data.column import Column
from undiffuse.data.conditioned import CONDITION
from undiffuse.draw.pictures import pictures
from undiffuse.draw.points import Cloud, points
from undiffuse.draw.style import save


@dataclass(frozen=True)
class Rows:
    """Rows to save, ``(count, *shape)`` as in a `Dataset`, and what drawing them needs."""

    x: Tensor
    labels: Tensor | None = None  # (count,), -1 for none
    label_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    title: str = "samples"
    beside: Cloud | None = None  # data that is drawn beside points
    log_density: Callable[[Tensor], Tensor] | None = None  # the true density on the line, if it is known
    alphabet: Alphabet | None = None  # of text
    schema: tuple[Column, ...] = ()  # of a table
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)  # `condition.label.written`

    @property
    def captions(self) -> list[str]:
        """The labels in words, one a row; none if there are no labels."""
        if self.labels is None or not self.label_names:
            return []
        return [self.label_names[k] if k >= 0 else "" for k in self.labels.tolist()]

    @property
    def texts(self) -> list[str]:
        """The words of the first condition that has some, one a row; none if there is none."""
        worded = (words for words in self.conditions.values() if np.issubdtype(words.dtype, np.str_))
        return list(map(str, next(worded, ())))


Writer = Callable[[Rows, Path], None]


def check_writable(path: str | Path, endings: Iterable[str], force: bool = False) -> Path:
    """The path, if its ending is one of ``endings``, its folder is there, and nothing would be overwritten.

    Call this before any work is done. Raises ``UserError`` otherwise.
    """
    path, endings = path_of(path), tuple(endings)
    if path.suffix.lower() not in endings:
        what = nearest(path.suffix, endings, "ending") if path.suffix else f"no ending; known: {', '.join(endings)}"
        raise UserError(f"{path}: {what}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; add --force to overwrite it")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    return path


def save_sheet(rows: Rows, path: Path) -> None:
    """Pictures as one sheet, .png."""
    sheet = pictures(rows.x, rows.captions or rows.texts)
    write_atomically(path, lambda part: sheet.save(part, "PNG", pnginfo=png_text()))


def save_plot(rows: Rows, path: Path) -> None:
    """A drawing of points, beside the data if it is there, .png."""
    made = Cloud(rows.title, rows.x, rows.labels)
    clouds = [made] if rows.beside is None else [rows.beside, made]
    save(points(clouds, rows.label_names, rows.columns, rows.log_density), path)


def save_array(rows: Rows, path: Path) -> None:
    """Only the array, .npy."""
    write_atomically(path, lambda part: np.save(part, rows.x.cpu().numpy()))


def save_archive(rows: Rows, path: Path) -> None:
    """The array and its labels, .npz."""
    arrays: dict[str, Any] = {"x": rows.x.cpu().numpy()}
    if rows.labels is not None:
        arrays |= {"labels": rows.labels.cpu().numpy(), "label_names": np.array(rows.label_names, dtype=np.str_)}
    arrays |= {f"{CONDITION}{name}": values for name, values in rows.conditions.items()}
    if made_by := origin():
        arrays[KEY] = np.array(made_by)
    write_atomically(path, lambda part: np.savez(part, **arrays))


def save_columns(rows: Rows, path: Path) -> None:
    """Points, one column for each of their numbers, .csv."""
    names = rows.columns or [f"x{k + 1}" for k in range(rows.x.shape[1])]
    columns: list[tuple[str, Iterable[object]]] = list(zip(names, rows.x.cpu().numpy().T, strict=True))
    if rows.captions:
        columns.append(("label", rows.captions))
    for name, values in rows.conditions.items():
        if values.ndim == 1 and np.issubdtype(values.dtype, np.floating):
            columns.append((f"{CONDITION}{name}", ["" if np.isnan(value) else value for value in values]))
    header, cells = zip(*columns, strict=True)
    write_csv(path, header, zip(*cells, strict=True))  # float32 prints its shortest form
