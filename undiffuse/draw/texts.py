"""Frames of text during sampling: one cell for each character, pale for a mask, coloured for a new character."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from undiffuse.data.alphabet import Alphabet
from undiffuse.draw.animation import Frame
from undiffuse.draw.style import FAINT, INK, MADE, PAPER, QUIET, font

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = 32
SIZE = 15  # of letters
CELL = (12, 22)  # pixels across and down, of one character
MARGIN, CAPTION = 12, 34
SIGNS = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", " ": ""}  # how what cannot be seen is shown


def film_of_texts(states: Iterable[Frame], alphabet: Alphabet) -> "Iterator[Image]":
    """Texts ``(count, length)``, one above the other; a token of several characters takes as many cells."""
    before: Tensor | None = None
    for state in states:
        yield _page(state, before, alphabet)
        before = state.x


def _page(state: Frame, before: Tensor | None, alphabet: Alphabet) -> "Image":
    from PIL import Image, ImageDraw

    rows = [row for k in range(len(state.x)) for row in _rows(state.x, before, k, alphabet)]
    width, height = COLUMNS * CELL[0] + 2 * MARGIN, len(rows) * CELL[1] + CAPTION + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    pen, letters = ImageDraw.Draw(page), font(SIZE, "DejaVuSansMono")
    pen.text((MARGIN, 8), state.step, fill=INK, font=font(SIZE))
    pen.text((width - MARGIN, 8), state.level, fill=QUIET, font=font(SIZE), anchor="ra")
    for down, row in enumerate(rows):
        for across, (sign, colour) in enumerate(row):
            left, top = MARGIN + across * CELL[0], CAPTION + down * CELL[1]
            if sign is None:
                pen.rectangle((left + 2, top + 4, left + CELL[0] - 3, top + CELL[1] - 6), fill=FAINT)
            else:
                pen.text((left + CELL[0] / 2, top + CELL[1] / 2), sign, fill=colour, font=letters, anchor="mm")
    return page


def _rows(x: Tensor, before: Tensor | None, k: int, alphabet: Alphabet) -> list[list[tuple[str | None, str]]]:
    """Text ``k`` as rows of cells, a sign and its colour each, and an empty row after it; None is a mask."""
    cells: list[tuple[str | None, str]] = []
    for place, token in enumerate(x[k]):
        if int(token) == alphabet.size:
            cells.append((None, FAINT))
            continue
        is_new = before is not None and before[k, place] != token
        cells += [(SIGNS.get(sign, sign), MADE if is_new else INK) for sign in alphabet.decode(token[None])]
    return [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)] + [[]] * (k < len(x) - 1)
