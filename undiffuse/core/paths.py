"""Paths as users write them, and the files below a folder, within limits."""

import os
from collections.abc import Iterator
from pathlib import Path

from undiffuse.core.errors import UserError

FILES = 2_000_000  # at most, below a folder
FOLDERS = 50_000  # at most, below a folder
DEEP = 40  # levels of folders, at most


def path_of(text: str | Path) -> Path:
    """The path of a text, in which ~ is home. Raises UserError for a name that no file can have, or an unknown home."""
    try:
        str(text).encode("utf-8")
        if "\0" in str(text):
            raise ValueError
    except ValueError:
        raise UserError(f"{text}: not the name of a file, which is plain text in UTF-8") from None
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{text}: no user of that name has a home here; write the path in full") from None


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in a fixed order. Links are followed, except to a folder that contains them.

    Raises UserError beyond `FILES` files, `FOLDERS` folders or `DEEP` levels: this is not a folder of data.
    """
    count = folders = 0
    start = len(folder.parts)
    for top, below, names in os.walk(folder, followlinks=True):
        here = Path(top)
        if len(here.parts) - start > DEEP:
            raise UserError(f"{folder}: folders are nested more than {DEEP} deep, down to {here}; is it the right one?")
        count, folders = count + len(names), folders + 1
        if count > FILES or folders > FOLDERS:
            most = f"{FILES:,} files" if count > FILES else f"{FOLDERS:,} folders"
            raise UserError(f"{folder}: holds more than {most}; give a folder of fewer, or data in one file")
        below[:] = sorted(name for name in below if not _is_above(here / name))
        yield from (here / name for name in sorted(names))


def _is_above(folder: Path) -> bool:
    """Whether a link leads to a folder that it lies in."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return folder.parent.resolve().is_relative_to(target)
