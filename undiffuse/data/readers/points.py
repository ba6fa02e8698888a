"""Points from text: a .csv or .tsv file, gzipped or not, a row a line and a number a column."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from undiffuse.condition.label import Names, labelled
from undiffuse.core.errors import UserError
from undiffuse.data.column import MISSING
from undiffuse.data.conditioned import CONDITION, with_numbers
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.array import index_attributes, index_labels
from undiffuse.data.readers.cells import COUNTS_ROWS, by_column, is_header, number_of, read_cells

LABELS = ("label", "labels", "class", "target")
ATTRIBUTE = "label."  # what the name of an attribute's column begins with


def csv_points(path: Path) -> Dataset:
    """Points ``(count, columns)``, float32, whole numbers too, and labels if a column is called so.

    - Cells are read by `undiffuse.data.readers.cells`, and may be written as NumPy does; empty rows are skipped.
    - The first line is a header if it names columns (`is_header`), one of its cells is a label's name, or it counts
      0, 1, 2, ...
    - A column called label, class or target, of text or whole numbers, is the labels. Several attributes are columns
      called label.NAME each, and conditions of numbers, some of which may be missing, condition.NAME.
    - An unnamed first column that counts the rows, as pandas writes it, is left out.

    Raises:
        UserError: Rows of unequal length, missing values, or text that is not labels, with the line's number.
    """
    columns, notes = _columns(path)
    attributes = [column for column in columns if column.name.lower().startswith(ATTRIBUTE)]
    label_columns = attributes or [column for column in columns if column.is_label()][:1]
    beside = [column for column in columns if column.name.startswith(CONDITION)]
    numbers = [column for column in columns if column not in label_columns and column not in beside]
    if not numbers:
        raise UserError(f"{path}: no columns of numbers")
    x = torch.from_numpy(np.stack([column.numbers() for column in numbers], axis=1)).float()
    labels, label_names = _labels(label_columns)
    data = Dataset(
        x,
        *labelled(None if labels is None else torch.from_numpy(labels), label_names),
        columns=tuple(column.name or f"column {k + 1}" for k, column in enumerate(numbers)),
        notes=tuple(notes),
        name=path.name,
    )
    return with_numbers(data, {column.name.removeprefix(CONDITION): column.known() for column in beside})


def _labels(label_columns: "list[WrittenColumn]") -> tuple[np.ndarray | None, Names]:
    """Labels (count,), or (count, attributes) of columns called label.NAME; None of no columns."""
    if not label_columns:
        return None, ()
    if not label_columns[0].name.lower().startswith(ATTRIBUTE):
        return index_labels(label_columns[0].labels())
    values = np.stack([column.labels().astype(object) for column in label_columns], 1)
    return index_attributes(values, [column.name[len(ATTRIBUTE) :] for column in label_columns])


@dataclass(frozen=True)
class WrittenColumn:
    """One column as it was written: its cells, and the line of the file that each stands in."""

    path: Path
    name: str
    cells: tuple[str, ...]
    lines: list[int]

    def numbers(self) -> np.ndarray:
        """``(count,)`` float64, or a UserError that names the first cell that is missing or is not a number."""
        try:
            values = np.fromiter(map(float, self.cells), np.float64, len(self.cells))
        except ValueError:
            self._refuse_text()
            values = np.array([np.nan])  # not text, so missing
        if np.isnan(values).any():
            self._refuse_missing()
        return values

    def known(self) -> np.ndarray:
        """``(count,)`` float64, NaN where a cell is missing, or a UserError that names the first that is text."""
        self._refuse_text()
        return np.array([math.nan if (value := number_of(cell)) is None else value for cell in self.cells])

    def is_label(self) -> bool:
        """Whether the name is a label's, and the cells are text or whole numbers (else it is a number to learn)."""
        if self.name.lower() not in LABELS:
            return False
        values = [number_of(cell) for cell in self.cells]
        return None in values or all(value is not None and value.is_integer() for value in values)

    def labels(self) -> np.ndarray:
        """``(count,)`` whole numbers, or text."""
        self._refuse_missing()
        values = [number_of(cell) for cell in self.cells]
        if None in values:
            return np.array(self.cells)
        return np.array([int(value) for value in values if value is not None])

    def _refuse_missing(self) -> None:
        lines = [line for line, cell in zip(self.lines, self.cells, strict=True) if cell.lower() in MISSING]
        if lines:
            raise UserError(
                f"{self.path}: {len(lines)} values of column {self.name!r} are missing, the first in line "
                f"{lines[0]}; fill them or remove those rows"
            )

    def _refuse_text(self) -> None:
        for line, cell in zip(self.lines, self.cells, strict=True):
            if number_of(cell) is None and cell.lower() not in MISSING:
                raise UserError(
                    f"{self.path}: column {self.name!r} holds text, as {cell!r} in line {line}; call it label if it "
                    "is one, else train it as a table: undiffuse train table --data FILE"
                )


def _columns(path: Path) -> tuple[list[WrittenColumn], list[str]]:
    """The columns of a file, named by its header or else "1", "2", ..., and notes."""
    rows, notes = read_cells(path, numbers=True)
    rows = [row for row in rows if any(row.cells)]
    found = by_column(path, rows, is_header(rows) or _names_or_counts(rows[0].cells))
    names = found.names or [str(k + 1) for k in range(len(found.cells))]
    columns = [WrittenColumn(path, *each, found.lines) for each in zip(names, found.cells, strict=True)]
    return (columns[1:], [*notes, COUNTS_ROWS]) if found.begins_with_index() else (columns, notes)


def _names_or_counts(cells: list[str]) -> bool:
    """Whether a cell is the name of labels, or the cells count columns that pandas has no names for."""
    names_a_label = any(name in LABELS or name.startswith(ATTRIBUTE) for name in map(str.lower, cells))
    return names_a_label or (len(cells) > 1 and cells == [str(k) for k in range(len(cells))])
