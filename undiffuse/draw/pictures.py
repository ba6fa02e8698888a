"""A sheet of pictures: a grid on white paper, tiny ones enlarged pixel by pixel, an optional caption under each.

One channel is grey and three are colour; any other number of channels are shown side by side, each in grey.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.core.errors import SHORT, UserError, shown
from undiffuse.draw.style import PAPER, QUIET, font

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = 1000  # the width of a sheet in pixels, about
TILE = 96  # the least width of a picture in pixels, if there is room
SEEN = 100_000  # values of a channel, at most, from which black and white are found
CAPTION = 13  # pixels of a letter's height
LINES = 4  # of a caption


def pictures(x: Tensor, captions: Sequence[str] = (), columns: int | None = None, width: int = SHEET) -> "Image":
    """``x (count, channels, height, width)`` as one sheet, row by row, about square without ``columns``.

    Enlarged towards ``width`` pixels only by whole factors, so that every pixel stays a square.
    """
    from PIL import Image, ImageDraw

    if x.ndim != 4 or not (x.dtype == torch.uint8 or x.is_floating_point()) or len(x) == 0:
        raise UserError(f"a sheet shows pictures (count, channels, height, width), not {tuple(x.shape)} {x.dtype}")
    x = stretched(x) if x.is_floating_point() else x
    if captions and len(captions) != len(x):
        raise UserError(f"{len(captions)} captions for {len(x)} pictures")
    tiles = in_colour(x.cpu())
    columns = columns or _columns(len(x), tiles.shape[1], tiles.shape[2])
    factor = max(1, min(math.ceil(TILE / tiles.shape[2]), width // (columns * tiles.shape[2])))
    tile_height, tile_width = factor * tiles.shape[1], factor * tiles.shape[2]
    gap = max(2, round(0.08 * min(tile_width, tile_height)))
    said = [_wrapped(caption, tile_width) for caption in captions]
    below = (CAPTION + 2) * max(map(len, said)) + 3 if said else 0
    down, across = tile_height + gap + below, tile_width + gap
    rows = math.ceil(len(x) / columns)

    sheet = Image.new("RGB", (columns * across + gap, rows * down + gap), PAPER)
    pen, letters = ImageDraw.Draw(sheet), font(CAPTION)
    for k, tile in enumerate(tiles.numpy()):
        left, top = gap + k % columns * across, gap + k // columns * down
        enlarged = Image.fromarray(tile).resize((tile_width, tile_height), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        if captions:
            for line, text in enumerate(said[k]):
                middle = (left + tile_width / 2, top + tile_height + 1 + line * (CAPTION + 2))
                pen.text(middle, text, fill=QUIET, font=letters, anchor="ma")
    return sheet


def stretched(x: Tensor) -> Tensor:
    """Numbers as uint8: of each channel, over all pictures, the 1% quantile is black and the 99% quantile white."""
    values = x.detach().cpu().float().movedim(1, 0).flatten(1)
    some = values[:, torch.linspace(0, values.shape[1] - 1, min(values.shape[1], SEEN)).long()]
    low, high = (some.quantile(q, dim=1).view(1, -1, 1, 1) for q in (0.01, 0.99))
    return (255 * (x.cpu() - low) / (high - low).clamp(min=1e-12)).nan_to_num(0).round().clamp(0, 255).to(torch.uint8)


def in_colour(x: Tensor) -> Tensor:
    """``(count, channels, height, width) -> (count, height, width', 3)``; width' holds all channels if need be."""
    if x.shape[1] not in (1, 3):
        x = torch.cat(list(x.split(1, dim=1)), dim=3)
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()


def _columns(count: int, height: int, width: int) -> int:
    """The number of columns that makes the sheet about square."""
    return max(1, min(count, round(math.sqrt(count * height / width))))


def _wrapped(text: str, width: int) -> list[str]:
    """The text in at most `LINES` lines of ``width`` pixels, between words; what is left over is cut."""
    letters, lines = font(CAPTION), [""]
    for word in shown(text, SHORT).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > width and len(lines) < LINES:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_fitted(line, width) for line in lines]


def _fitted(text: str, width: int) -> str:
    """The text, cut at ``width`` pixels."""
    letters, text = font(CAPTION), shown(text, SHORT)
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
