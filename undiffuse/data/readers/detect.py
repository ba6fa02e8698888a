"""What a column of cells is: numbers, whole numbers, dates, categories, or one cell throughout.

    detect(name, cells, lines) -> (Column, values float64, notes)

Work is per distinct cell: a column of a million rows and two categories is two decisions and a million look-ups.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from undiffuse.core.errors import UserError, nearest
from undiffuse.data.column import DECIMALS, FORMS, KINDS, MISSING, MISSING_CATEGORY, Column, Kind, seconds

WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)")  # no leading zeros, which a number would lose
DECIMAL = re.compile(r"[+-]?(0|[1-9]\d*)?\.?(\d*)([eE][+-]?\d+)?")
EXACT = 2**53  # whole numbers up to here are float64's
NEARLY = 0.9  # a column with this share of numbers and some text is taken for a mistake


class Detected(NamedTuple):
    """A column, what its cells mean, and what was decided on the way."""

    column: Column
    values: np.ndarray  # (count,) float64
    notes: tuple[str, ...]


def detect(
    name: str, cells: Sequence[str], lines: Sequence[int], kind: str | None = None, frequent: int = 255
) -> Detected:
    """The column that these stripped cells are, or the ``kind`` that it is said to be.

    - Numbers may miss (empty, ?, NA, null, ...), and so may categories (empty and ?, as "none" may well be one).
    - Whole numbers with leading zeros, such as codes, or beyond 2^53, are categories, so that nothing is lost; so are
      those with at most two values.
    - Of more than ``frequent`` categories the rarer ones are one to the model, "other", and are drawn by frequency.

    Raises:
        UserError: Text among numbers, an infinite number, or cells that the kind asked for cannot hold; with the line.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"column {name!r}: {nearest(kind, KINDS, 'kind of column')}")
    counts = Counter(cells)
    found: Kind = kind or _kind(name, counts, cells, lines)  # type: ignore[assignment]  # it is one of them
    if found == "constant" and len(counts) > 1:
        raise UserError(f"column {name!r} is no constant: it holds {len(counts)} different cells")
    missing = _missing(counts, MISSING if found in ("number", "integer", "date") else MISSING_CATEGORY)
    notes = (
        [f"{name}: nothing but missing cells, which are put back as they were"] if len(missing) == len(counts) else []
    )
    if len(missing) > 1:
        notes.append(f"{name}: missing cells are written {len(missing)} ways, and from now on {missing[0]!r}")
    present = {cell: count for cell, count in counts.items() if cell not in missing}
    written = missing[0] if missing else None
    form, decimals, categories, told_apart = "", None, tuple[str, ...](), 255
    if found == "date":
        form = _form(present)
        if not form:
            raise UserError(
                f"column {name!r} holds no dates of one form, such as 2026-02-28; {' '.join([*present][:3])}"
            )
    elif found in ("number", "integer"):
        decimals = _decimals(present)
    elif found in ("category", "constant"):
        if len(present) > frequent + 1:
            rare = len(present) - frequent
            notes.append(
                f"{name}: {len(present):,} different cells; the {frequent} most frequent are told apart, the other "
                f"{rare:,} are one category to the model, redrawn from those seen by their frequency (real cells!)"
            )
        categories, told_apart = _ordered(present, frequent), frequent
    column = Column(name, found, categories, told_apart, decimals, form, written)
    meaning = meanings(column, cells, lines, strict=kind is None)
    unread = sum(counts[cell] for cell in present if np.isnan(meaning[cell]))
    if unread:
        notes.append(f"{name}: {unread} cells are no {found}, and count as missing")
        column = column if column.missing is not None else replace(column, missing="")
    return Detected(column, np.array([meaning[cell] for cell in cells]), tuple(notes))


def _kind(name: str, counts: Counter[str], cells: Sequence[str], lines: Sequence[int]) -> Kind:
    if len(counts) == 1 or all(cell.lower() in MISSING for cell in counts):
        return "constant" if len(counts) == 1 else "category"
    present = {cell: count for cell, count in counts.items() if cell.lower() not in MISSING}
    if all(WHOLE.fullmatch(cell) and abs(int(cell)) <= EXACT for cell in present):
        return "integer" if len(present) > 2 else "category"
    numeric = {cell for cell in present if _is_number(cell)}
    if len(numeric) == len(present) and not all(re.fullmatch(r"[+-]?\d+", cell) for cell in present):
        return "integer" if all(float(cell).is_integer() for cell in present) and len(present) > 2 else "number"
    if _form(present):
        return "date"
    if sum(present[cell] for cell in numeric) > NEARLY * sum(present.values()) and len(numeric) < len(present):
        where, cell = next(
            (at, cell) for at, cell in zip(lines, cells, strict=True) if cell in present.keys() - numeric
        )
        raise UserError(
            f"line {where}: column {name!r} holds numbers, but here {cell!r}; correct it, or say what it is: "
            f"--data.types {name}=category, or {name}=number, with text as missing"
        )
    return "category"


def _is_number(cell: str) -> bool:
    return bool(cell) and DECIMAL.fullmatch(cell) is not None and any(letter.isdigit() for letter in cell)


def _missing(counts: Counter[str], markers: Sequence[str]) -> list[str]:
    """The cells that are missing ones, the most frequent first."""
    return [cell for cell, _ in counts.most_common() if cell.lower() in markers]


def _form(present: dict[str, int]) -> str:
    """The one form that all cells have as dates; "" if there is none."""
    return next((form for form in FORMS if present and all(_is_date(cell, form) for cell in present)), "")


def _is_date(cell: str, form: str) -> bool:
    try:
        seconds(cell, form)
    except ValueError:
        return False
    return True


def _decimals(present: dict[str, int]) -> tuple[int, int] | None:
    """Fewest and most digits after the point; None where there are exponents, or too many."""
    found = [DECIMAL.fullmatch(cell) for cell in present]
    digits = {len(match[2]) if "." in match[0] else 0 for match in found if match}
    if any(match is not None and match[3] for match in found) or max(digits, default=0) > DECIMALS:
        return None
    return min(digits, default=0), max(digits, default=0)


def _ordered(present: dict[str, int], frequent: int) -> tuple[str, ...]:
    """The most frequent cells by frequency, the rest by alphabet."""
    by_frequency = sorted(present, key=lambda cell: (-present[cell], cell))
    if len(by_frequency) <= frequent + 1:
        return tuple(by_frequency)
    return (*by_frequency[:frequent], *sorted(by_frequency[frequent:]))


def meanings(column: Column, cells: Sequence[str], lines: Sequence[int], strict: bool = True) -> dict[str, float]:
    """Each distinct cell's value. One that the column cannot hold is NaN, or, if ``strict``, an error with its line."""
    meaning: dict[str, float] = {}
    for cell in dict.fromkeys(cells):
        try:
            meaning[cell] = column.value(cell)
        except UserError as error:
            if strict:
                raise UserError(f"line {lines[cells.index(cell)]}: {error}") from None
            meaning[cell] = np.nan
    return meaning
