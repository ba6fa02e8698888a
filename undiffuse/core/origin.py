"""What made a file, kept inside the file: the command, the run and how it was sampled.

    with recording("undiffuse sample runs/digits -n 64"):
        note(run="runs/digits", sampling="ddim, 20 steps, seed 0")
        ...                     # what is written here carries both

It is text in the formats' own places: a text chunk of a .png, the comment of a .gif, an array of an .npz. `read_origin`
reads it back.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

KEY = "undiffuse"
LONGEST = 100_000  # characters that are read back
UNREADABLE = (OSError, ValueError, SyntaxError, AttributeError, EOFError, BadZipFile)

_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


@contextmanager
def recording(command: str) -> Iterator[None]:
    """What is written inside carries ``command``, and all that `note` adds."""
    token = _facts.set({"command": command})
    try:
        yield
    finally:
        _facts.reset(token)


def note(**facts: Any) -> None:
    """Add to what the files carry: values as JSON has them. Nothing happens outside of `recording`."""
    known = _facts.get()
    if known is not None:
        known |= facts


def command() -> str:
    """What was typed; empty outside of `recording`."""
    return str((_facts.get() or {}).get("command", ""))


def origin() -> str:
    """What files are to carry, as JSON; empty if no run has been noted."""
    facts = _facts.get()
    return json.dumps(facts) if facts and "run" in facts else ""


def png_text() -> "PngInfo":
    """The same, as Pillow takes it for a .png."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if made_by := origin():
        text.add_itxt(KEY, made_by)
    return text


def read_origin(path: Path) -> Mapping[str, Any]:
    """What made a .png, .gif or .npz; empty if it does not say, or is no such file."""
    import numpy as np
    from PIL import Image

    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                text = str(archive[KEY]) if KEY in archive.files else ""
        else:
            with Image.open(path) as image:
                text = image.info.get(KEY) or image.info.get("comment", "")
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        facts = json.loads(text[:LONGEST])
    except (*UNREADABLE, Image.DecompressionBombError):
        return {}
    return facts if isinstance(facts, dict) and {"command", "run"} <= facts.keys() else {}
