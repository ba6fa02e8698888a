"""Letters that write sentences: every character of a text is a sample, asked for by its name.

The letters of one line un-diffuse together, and the lines follow one another. The step is written on top; a finished
line stays for a few frames. Any run whose labels are single characters can write: letters, digits, runes.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from undiffuse.core.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from undiffuse.run.run import Run
    from undiffuse.sampling.sampling import Sampling

COLUMNS = 16  # characters a line, unless told otherwise
CELL = 48  # pixels of the page for a character, about
MARGIN, CAPTION = 12, 28
PAPER = 255


class Page(NamedTuple):
    """One picture of the text, and whether a line is finished with it."""

    image: "Image"
    finished: bool


def lines(text: str, columns: int = COLUMNS) -> list[str]:
    """A text as lines of at most ``columns`` characters. Breaks come at newlines, else between words, else anywhere.

    Every kind of white space counts as a space. Raises UserError if there is nothing to write.
    """
    if columns < 1:
        raise UserError(f"a line has at least 1 character, not {columns}")
    found = [
        line
        for paragraph in text.replace("\\n", "\n").expandtabs(4).splitlines()
        for line in textwrap.wrap(re.sub(r"\s", " ", paragraph), columns, drop_whitespace=True) or [""]
    ]
    if not any(line.strip() for line in found):
        raise UserError("there is nothing to write")
    return found


def spelled(text: list[str], names: tuple[str, ...]) -> list[int]:
    """The labels of all characters but spaces, in order; in the other case if the model knows only that one.

    Raises UserError for characters that the model cannot write, and lists those that it can.
    """
    wanted = [character for line in text for character in line if character != " "]
    indices = {character: _index(character, names) for character in sorted(set(wanted))}
    if unknown := [c if c.isprintable() else ascii(c) for c, index in indices.items() if index is None]:
        raise UserError(f"this model cannot write {' '.join(unknown)}; it can write {' '.join(names)} and spaces")
    return [index for index in map(indices.get, wanted) if index is not None]


def pages(
    run: "Run",
    text: list[str],
    sampling: "Sampling | None" = None,
) -> Iterator[Page]:
    """The pages of the film: for every line, one page for each state of its letters, from noise to ink.

    The same letter twice is two samples; the same seed gives the same pages. Raises UserError if the run's labels are
    not characters, if its pictures are neither grey nor colour, or if it cannot write a character.
    """
    names = run.label_names
    if not isinstance(names, tuple) or not names or any(len(name) != 1 for name in names):
        raise UserError(f"{run.folder} cannot write: its labels are not characters, but {', '.join(names) or 'none'}")
    if len(run.shape) != 3 or run.shape[0] not in (1, 3):
        raise UserError(
            f"{run.folder} cannot write: letters are pictures of 1 channel or 3, not {run.kind} {run.shape}"
        )
    labels = spelled(text, names)
    sheet = _Sheet(text, run.shape[1:])
    first = 0
    for row, line in enumerate(text):
        count = len(line.replace(" ", ""))
        if not count:
            continue
        states = list(run.trajectory(count, {"label": labels}, sampling, first))
        if first == 0:
            sheet.inked = bool(states[-1][0].float().mean() < PAPER / 2)  # bright strokes on black are turned to ink
        for k, (x, _) in enumerate(states):
            sheet.put(row, line, x)
            yield Page(sheet.image(f"step {k} of {len(states) - 1}"), k == len(states) - 1)
        first += count


class _Sheet:
    """Characters on paper."""

    def __init__(self, text: list[str], size: tuple[int, ...]) -> None:
        height, width = size
        self.scale = max(1.0, CELL / height)
        self.cell = round(height * self.scale), round(width * self.scale)
        self.inked = False
        rows, columns = len(text), max(map(len, text))
        self.ink = torch.full((3, rows * self.cell[0], columns * self.cell[1]), PAPER, dtype=torch.uint8)

    def put(self, row: int, line: str, x: Tensor) -> None:
        """Lay the letters of a line where its characters stand."""
        shown = F.interpolate(x.float(), size=self.cell, mode="bicubic", antialias=True)
        shown = shown.round().clamp(0, PAPER).to(torch.uint8)
        if self.inked:
            shown = PAPER - shown
        height, width = self.cell
        places = [column for column, character in enumerate(line) if character != " "]
        for column, letter in zip(places, shown, strict=True):
            self.ink[:, row * height : (row + 1) * height, column * width : (column + 1) * width] = letter

    def image(self, caption: str) -> "Image":
        """The page, with a caption on top."""
        from PIL import Image, ImageDraw

        from undiffuse.draw.style import QUIET, font

        ink = Image.fromarray(self.ink.permute(1, 2, 0).contiguous().numpy())
        page = Image.new("RGB", (max(ink.width, 110) + 2 * MARGIN, ink.height + MARGIN + CAPTION), (PAPER,) * 3)
        page.paste(ink, (MARGIN, CAPTION))
        ImageDraw.Draw(page).text((MARGIN, 7), caption, fill=QUIET, font=font(13))
        return page


def _index(character: str, names: tuple[str, ...]) -> int | None:
    for same in (character, character.upper(), character.lower()):
        if same in names:
            return names.index(same)
    return None
