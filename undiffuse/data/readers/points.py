"""Points from text: a .csv or .tsv file, gzipped or not, a row a line and a number a column."""

import csv
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from undiffuse.condition.label import Names, labelled
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.array import index_attributes, index_labels

LABELS = ("label", "labels", "class", "target")
MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "-")
ATTRIBUTE = "label."  # what the name of an attribute's column begins with
DELIMITERS = "\t;|,"


def csv_points(path: Path) -> Dataset:
    """Points ``(count, columns)``, float32, whole numbers too, and labels if a column is called so.

    - The delimiter is the first of tab, semicolon, bar and comma that the first line has, else blanks.
    - The first line is a header if none of its fields is a number, one is a label's name, or it counts 0, 1, 2, ...
    - A column called label, class or target, of text or whole numbers, is the labels. Several attributes are columns
      called label.NAME each.
    - An unnamed column that counts the rows, as pandas writes it, is left out. Empty lines and lines that start
      with # are skipped.

    Raises:
        UserError: Rows of unequal length, missing values, or text that is not labels, with the line's number.
    """
    columns = _columns(path)
    attributes = [column for column in columns if column.name.lower().startswith(ATTRIBUTE)]
    told = attributes or [column for column in columns if column.is_label()][:1]
    numbers = [column for column in columns if column not in told and not column.counts_rows()]
    if not numbers:
        raise UserError(f"{path}: no columns of numbers")
    x = torch.from_numpy(np.stack([column.numbers() for column in numbers], axis=1)).float()
    notes = ("the unnamed column that counts the rows was left out",) if any(c.counts_rows() for c in columns) else ()
    labels, label_names = _labels(told)
    return Dataset(
        x,
        *labelled(None if labels is None else torch.from_numpy(labels), label_names),
        columns=tuple(column.name or f"column {k + 1}" for k, column in enumerate(numbers)),
        notes=notes,
        name=path.name,
    )


def _labels(told: "list[WrittenColumn]") -> tuple[np.ndarray | None, Names]:
    """Labels (count,), or (count, attributes) of columns called label.NAME; None of no columns."""
    if not told:
        return None, ()
    if not told[0].name.lower().startswith(ATTRIBUTE):
        return index_labels(told[0].labels())
    values = np.stack([column.labels().astype(object) for column in told], 1)
    return index_attributes(values, [column.name[len(ATTRIBUTE) :] for column in told])


@dataclass(frozen=True)
class WrittenColumn:
    """One column as it was written: its cells, and the line of the file that each stands in."""

    path: Path
    name: str
    cells: tuple[str, ...]
    lines: tuple[int, ...]

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

    def is_label(self) -> bool:
        """Whether the name is a label's, and the cells are text or whole numbers (else it is a number to learn)."""
        if self.name.lower() not in LABELS:
            return False
        values = [_number(cell) for cell in self.cells]
        return None in values or all(value is not None and value.is_integer() for value in values)

    def labels(self) -> np.ndarray:
        """``(count,)`` whole numbers, or text."""
        self._refuse_missing()
        values = [_number(cell) for cell in self.cells]
        if None in values:
            return np.array([cell.strip() for cell in self.cells])
        return np.array([int(value) for value in values if value is not None])

    def counts_rows(self) -> bool:
        """Whether this is the index that pandas writes: no name, and 0, 1, 2, ..."""
        return self.name == "" and list(self.cells) == [str(k) for k in range(len(self.cells))]

    def _refuse_missing(self) -> None:
        lines = [line for line, cell in zip(self.lines, self.cells, strict=True) if _is_missing(cell)]
        if lines:
            raise UserError(
                f"{self.path}: {len(lines)} values of column {self.name!r} are missing, the first in line "
                f"{lines[0]}; fill them or remove those rows"
            )

    def _refuse_text(self) -> None:
        for line, cell in zip(self.lines, self.cells, strict=True):
            if _number(cell) is None and not _is_missing(cell):
                raise UserError(
                    f"{self.path}: column {self.name!r} holds text, as {cell!r} in line {line}; call it label if it "
                    "is one, else train it as a table: undiffuse train table --data FILE"
                )


def _columns(path: Path) -> list[WrittenColumn]:
    """The columns of a file, named by its header or else "1", "2", ..."""
    numbered = _numbered_rows(path)
    if not numbered:
        raise UserError(f"{path}: empty; at least 2 rows are needed")
    (first_line, first), *_ = numbered
    for line, row in numbered:
        if len(row) != len(first):
            raise UserError(f"{path}: line {line} has {len(row)} fields where line {first_line} has {len(first)}")
    has_header = _is_header(first)
    names = [field.strip() for field in first] if has_header else [str(k + 1) for k in range(len(first))]
    if len(numbered) == has_header:
        raise UserError(f"{path}: a header and no rows")
    lines, rows = zip(*numbered[has_header:], strict=True)
    return [WrittenColumn(path, name, cells, lines) for name, cells in zip(names, zip(*rows, strict=True), strict=True)]


def _numbered_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The fields of every line that has any, with the number of the line."""
    try:
        with _open_text(path) as file:
            start = next((line for line in file if line.strip() and not line.startswith("#")), "")
            file.seek(0)
            delimiter = next((mark for mark in DELIMITERS if mark in start), None)
            if delimiter:
                reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            else:
                reader = csv.reader((" ".join(line.split()) for line in file), delimiter=" ")
            return [(reader.line_num, row) for row in reader if any(row) and not row[0].startswith("#")]
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged, or not text in UTF-8 ({error})") from None


def _open_text(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _is_header(fields: list[str]) -> bool:
    no_numbers = all(_number(field) is None for field in fields)
    names = [field.strip().lower() for field in fields]
    names_a_label = any(name in LABELS or name.startswith(ATTRIBUTE) for name in names)
    counts_columns = len(fields) > 1 and fields == [str(k) for k in range(len(fields))]
    return no_numbers or names_a_label or counts_columns


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING
