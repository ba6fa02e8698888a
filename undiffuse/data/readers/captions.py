"""The captions of pictures in a folder, from files beside them.

    one.png  one.txt            a caption in each line
    captions.csv                file,caption         several rows of one picture are several captions of it
    metadata.jsonl              {"file_name": "one.png", "text": "..."}: Hugging Face's imagefolder; metadata.csv too

A file lies in the folder, or in a sub-folder (train, test) whose pictures it names.

A picture without a caption has none, which is as if it were dropped; what names no picture is left out; a note says so.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from undiffuse.core.errors import SHORT, UserError, shown
from undiffuse.data.readers.cells import read_cells

CSV, JSONL = ("captions.csv", "metadata.csv"), "metadata.jsonl"
NAMES = ("file_name", "file", "filename", "image", "picture", "name")  # of the column that names a picture
TEXTS = ("text", "caption", "captions", "texts", "description", "prompt")  # of the column of captions
OWN = ".txt"


class Said(NamedTuple):
    """Captions of pictures by their place in the list of pictures, where they are from, and notes."""

    of: dict[int, list[str]]
    notes: list[str]


def captions(folder: Path, pictures: Sequence[Path], places: dict[str, int]) -> Said | None:
    """The captions of ``pictures``, which names in files stand for by ``places``; None where there are no such files.

    Raises UserError for captions in two ways, a file that is damaged or has no such column, and one that names no
    picture of the folder, or has no caption.
    """
    files = [path for name in (*CSV, JSONL) for path in sorted([*folder.glob(name), *folder.glob(f"*/{name}")])]
    ways = sorted({path.name for path in files})
    own = {k: path.with_suffix(OWN) for k, path in enumerate(pictures) if path.with_suffix(OWN).is_file()}
    if len(ways) + bool(own) > 1:
        raise UserError(f"{folder}: captions in {' and '.join([*ways, *['.txt files'] * bool(own)])}; keep one of them")
    if own:
        lines = {k: [line for line in map(str.strip, _text(path).splitlines()) if line] for k, path in own.items()}
        return _checked(folder, pictures, lines, [], ".txt files")
    if not ways:
        return None
    found: dict[int, list[str]] = {}
    lost = []
    for path in files:
        for name, texts in _json_lines(path) if path.name == JSONL else _cells(path):
            place = places.get((path.parent.relative_to(folder) / name).as_posix())
            if place is None:
                lost.append(name)
            else:
                found.setdefault(place, []).extend(text.strip() for text in texts if text.strip())
    if not found:
        raise UserError(f"{files[0]}: names no picture of the folder{f'; {lost[0]!r} is not there' if lost else ''}")
    return _checked(folder, pictures, found, lost, ways[0])


def _checked(
    folder: Path, pictures: Sequence[Path], found: dict[int, list[str]], lost: Sequence[str], where: str
) -> Said:
    """Captions with notes on what is missing."""
    if not any(found.values()):
        raise UserError(f"{folder}: no caption in its {where}, or only empty ones")
    notes = []
    if lost:
        notes.append(
            f"{where} names {len(lost)} pictures that are not there, such as {shown(lost[0], SHORT)}: left out"
        )
    bare = [k for k in range(len(pictures)) if not found.get(k)]
    if bare:
        notes.append(
            f"{len(bare)} pictures have no caption, such as {pictures[bare[0]].relative_to(folder)}: without words"
        )
    return Said({k: texts for k, texts in found.items() if texts}, notes)


def _cells(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Names and captions of a table with a header."""
    (_, header), *rows = read_cells(path)[0]
    named = [cell.strip().lower() for cell in header]
    name = next((named.index(word) for word in NAMES if word in named), 0)
    text = next((named.index(word) for word in TEXTS if word in named), None)
    if text is None or text == name:
        raise UserError(f"{path}: has the columns {', '.join(header)}; call that of the captions caption")
    return ((row.cells[name], [row.cells[text]]) for row in rows)


def _json_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Names and captions of one JSON object a line."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number}: not an object with file_name and text")
        name = next((row[word] for word in NAMES if word in row), None)
        text = next((row[word] for word in TEXTS if word in row), None)
        several = text if isinstance(text, list) else [] if text is None else [text]
        if not isinstance(name, str) or not all(isinstance(one, str) for one in several):
            raise UserError(f"{path}: line {number}: needs a file_name and a text, both words; it has {', '.join(row)}")
        yield name, several


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; save it as such") from None
