"""Pictures of piano keyboards, seen from above: black keys in groups of two and three, from any key onwards.

Between neighbouring white keys there is a black one, but for E-F and B-C:

    C # D # E   F # G # A # B   C # D # E   ...

So the keys repeat every seven, and nothing nearer than four keys away tells whether a gap has a black key. That is what
generators get wrong: every part of their keyboards is right, and the whole is none. `undiffuse.data.synthetic.keyboard`
reads the keys back from a picture and says, exactly, whether it is one.

Every edge is parallel to the picture's, so the share of a pixel that a key covers is a product of two overlaps of
intervals: drawing is antialiased without oversampling, and all pictures are drawn at once.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from undiffuse.condition.label import labelled
from undiffuse.core.errors import UserError, check_seed
from undiffuse.core.memory import require
from undiffuse.data.dataset import Dataset, check_split

NAMES = ("C", "D", "E", "F", "G", "A", "B")
HAS_BLACK = (False, True, True, False, True, True, True)  # on the left edge of C, D, ... B
SHIFT = (0.0, -0.1, 0.1, 0.0, -0.13, 0.0, 0.13)  # of that black key from the edge, in white keys: as they are built

IVORY = ((1.00, 0.985, 0.95), (0.97, 0.94, 0.86))
CASE = ((0.10, 0.09, 0.09), (0.38, 0.17, 0.10), (0.36, 0.23, 0.14))  # ebony, mahogany, walnut
FELT = (0.55, 0.07, 0.12)
SMALLEST = 4.0  # pixels a white key must be wide for its edges to be seen
CHUNK = 256  # pictures drawn at once: what a cache holds


@dataclass(frozen=True)
class Keyboards:
    """What is seen in each picture: lengths in pixels, colours in [0, 1].

    Attributes:
        edges: (count, edges) left edges of white keys, evenly spaced, from one outside the picture to one outside.
        black: (count, edges) whether a black key lies on the edge.
        shift: (count, edges) of its middle from the edge.
        black_width, black_length: (count,) of black keys.
        top: (count,) where the case ends and the keys begin.
        ivory, case: (count, 3) colours.
        ebony: (count,) how light black keys are.
        light: (count, 2) how much lighter the right is than the left, and the bottom than the top.
    """

    edges: Tensor
    black: Tensor
    shift: Tensor
    black_width: Tensor
    black_length: Tensor
    top: Tensor
    ivory: Tensor
    case: Tensor
    ebony: Tensor
    light: Tensor


def keyboards(first: Tensor, size: tuple[int, int], keys: float, generator: Generator) -> Keyboards:
    """Keyboards whose first whole white key is ``first (count,)``, 0 for C to 6 for B; all else varies at random.

    ``keys`` white keys go across the ``size`` (height, width), to within 8%. Between .3 and .9 of the key before the
    first is seen, so that there is no doubt which key that is.
    """
    height, width = size
    count = len(first)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    white = width / (keys * between(0.92, 1.08))
    index = torch.arange(-1, int(1.1 * keys) + 2)  # edge 0 is the first key's
    name = (first[:, None] + index) % 7
    top = height * between(0.08, 0.18)
    wood = torch.tensor(CASE)[torch.randint(len(CASE), (count,), generator=generator)]
    light, dark = (torch.tensor(colour) for colour in IVORY)
    return Keyboards(
        edges=white[:, None] * (between(0.3, 0.9)[:, None] + index),
        black=torch.tensor(HAS_BLACK)[name],
        shift=white[:, None] * torch.tensor(SHIFT)[name],
        black_width=white * between(0.54, 0.64),
        black_length=(height - top) * between(0.6, 0.69),
        top=top,
        ivory=torch.lerp(light, dark, between(0, 1, 1)) * between(0.86, 1, 1),
        case=wood * between(0.8, 1.2, 1),
        ebony=between(0.05, 0.14),
        light=between(-0.07, 0.07, 2),
    )


def draw(seen: Keyboards, size: tuple[int, int]) -> Tensor:
    """``(count, 3, height, width)``, uint8."""
    height, width = size
    column, row = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    canvas = seen.ivory[:, :, None, None].repeat(1, 1, height, width)

    def paint(across: Tensor, down: Tensor, colour: Tensor | float, strength: float = 1.0) -> None:
        """Lay a colour over the canvas where ``across (count, width)`` and ``down (count, height)`` overlap."""
        canvas.lerp_(torch.as_tensor(colour), (strength * down)[:, None, :, None] * across[:, None, None, :])

    top, bottom = seen.top, torch.full_like(seen.top, height)
    everywhere = torch.ones(len(top), width)
    edge = cover(seen.edges, 0.8, column).sum(1)
    paint(edge, cover_between(top, bottom, row), 0.2, 0.75)
    paint(everywhere, cover_between(bottom - 0.05 * height, bottom, row), 0.35, 0.6)  # the keys' front

    end, dark = top + seen.black_length, seen.ebony[:, None, None, None]
    middle, thick = seen.edges + seen.shift, seen.black_width[:, None]

    def blacks(widths: Tensor, aside: float = 0.0) -> Tensor:
        return (cover(middle + aside, widths, column) * seen.black[..., None]).sum(1)

    paint(blacks(thick, aside=0.7), cover_between(top, end + 0.8, row), 0.15, 0.4)  # their shadow
    paint(blacks(thick), cover_between(top, end, row), dark)
    paint(blacks(0.4 * thick), cover_between(top, end - 0.09 * height, row), dark + 0.16)  # light on their backs
    paint(blacks(0.6 * thick), cover_between(end - 0.08 * height, end - 0.02 * height, row), dark + 0.26)  # and noses

    zero = torch.zeros_like(top)
    paint(everywhere, cover_between(top, top + 0.08 * height, row), 0.0, 0.35)  # the case's shadow
    paint(everywhere, cover_between(zero, top, row), torch.tensor(FELT)[:, None, None])
    paint(everywhere, cover_between(zero, top - 0.04 * height, row), seen.case[:, :, None, None])

    right, down = seen.light[:, 0, None, None, None], seen.light[:, 1, None, None, None]
    lit = 1 + right * (2 * column / width - 1) + down * (2 * row[:, None] / height - 1)
    return canvas.mul_(255 * lit).round_().clamp_(0, 255).to(torch.uint8)


def cover(middle: Tensor, width: Tensor | float, pixel: Tensor) -> Tensor:
    """The share of each pixel, by its centre ``(n,)``, that intervals ``(count, k)`` cover: ``(count, k, n)``."""
    half = torch.as_tensor(width) / 2
    return cover_between(middle - half, middle + half, pixel)


def cover_between(start: Tensor, end: Tensor, pixel: Tensor) -> Tensor:
    """As `cover`, for intervals from ``start (...)`` to ``end (...)``: ``(..., n)``."""
    right = torch.minimum(end[..., None], pixel + 0.5)
    return (right - torch.maximum(start[..., None], pixel - 0.5)).clamp(0, 1)


def piano(
    count: int, seed: int = 0, size: tuple[int, int] = (24, 64), keys: float = 10, split: str = "train"
) -> Dataset:
    """``count`` keyboards, labelled by the name of their first whole white key; the test split is a fresh draw.

    Raises:
        UserError: Fewer than 2 pictures, fewer than 8 keys (not every such window tells its place), white keys below
            4 pixels, a height below 16, or an unknown split.
    """
    check_split(split)
    check_seed(seed)
    height, width = size
    if count < 2:
        raise UserError(f"piano: {count} pictures asked for; at least 2 are needed")
    if keys < 8 or height < 16 or width < SMALLEST * keys:
        raise UserError(
            f"piano: pictures need 16 pixels of height, 8 keys, and {SMALLEST:g} pixels of width for each key; "
            f"{height} x {width} pixels with {keys:g} keys do not have them"
        )
    require(3 * height * width * (count + 64), f"piano: {count:,} pictures of {height} x {width}")
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    first = torch.randint(7, (count,), generator=generator)
    x = torch.cat([draw(keyboards(part, size, keys, generator), size) for part in first.split(CHUNK)])
    return Dataset(x, *labelled(first, NAMES), kind="pictures", name="piano")
