"""Sheets of pictures: every pixel a square of its own value."""

import numpy as np
import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.draw.pictures import in_colour, pictures


def random_pictures(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (2, 4, 4), (4, 6, 3), (5, 1, 1), (3, 300, 200)])
def test_every_pixel_is_found_again(shape):
    x = random_pictures(7, *shape)
    sheet = np.asarray(pictures(x, columns=3))
    tiles = in_colour(x).numpy()
    height, width = tiles.shape[1:3]
    # the sheet is columns * (tile + gap) + gap wide; solve for the whole factor and the gap
    factor, gap = next(
        (factor, gap)
        for factor in range(1, 2000)
        for gap in [max(2, round(0.08 * factor * min(height, width)))]
        if (3 * (width * factor + gap) + gap, 3 * (height * factor + gap) + gap) == (sheet.shape[1], sheet.shape[0])
    )
    for k, tile in enumerate(tiles):
        top, left = gap + k // 3 * (height * factor + gap), gap + k % 3 * (width * factor + gap)
        shown = sheet[top : top + height * factor, left : left + width * factor]
        assert (shown == tile.repeat(factor, 0).repeat(factor, 1)).all()


def test_tiny_pictures_are_enlarged_and_large_ones_are_not():
    assert pictures(random_pictures(4, 1, 8, 8)).width > 150
    assert pictures(random_pictures(4, 3, 600, 600)).width < 2 * 600 + 200


def test_channels_that_are_no_colours_lie_side_by_side():
    x = random_pictures(2, 4, 5, 3)
    shown = in_colour(x)
    assert shown.shape == (2, 5, 12, 3)
    assert torch.equal(shown[:, :, 3:6, 0], x[:, 1])


def test_captions_add_room_and_long_ones_are_cut():
    x = random_pictures(4, 1, 8, 8)
    plain, captioned = pictures(x), pictures(x, ["0", "1", "a very long name indeed, of a rare bird", ""])
    assert captioned.width == plain.width
    assert captioned.height > plain.height


@pytest.mark.parametrize(
    ("x", "captions", "message"),
    [
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), (), "a sheet shows pictures"),
        (torch.zeros(2, 8, dtype=torch.uint8), (), "a sheet shows pictures"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), ("one",), "1 captions for 2"),
    ],
)
def test_what_is_no_sheet_is_refused(x, captions, message):
    with pytest.raises(UserError, match=message):
        pictures(x, captions)
