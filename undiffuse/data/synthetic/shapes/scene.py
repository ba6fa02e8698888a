"""A scene as a value: one to three things, each with a shape, a colour, a size, a texture and a place, on a ground.

Lengths are shares of the picture's side, from the top left corner. `Scenes` are many scenes as tensors, for drawing;
`Thing` is one thing in words, as sentences and the checker have it.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Generator, Tensor

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "checked")
GROUNDS = ("white", "grey", "black")

HELD_OUT = (("green", "triangle"), ("orange", "circle"), ("blue", "cross"), ("purple", "square"))  # not trained on

MOST = 3  # things in a scene
RADII = ((0.11, 0.135), (0.18, 0.22))  # of small and of large things: half of the side of a square around them
OUTER = (0.25, 0.28)  # of a thing that another one is inside of
GAP = 0.07  # between the circles around two things
EDGE = 0.02  # between a thing and the picture's border


class Thing(NamedTuple):
    """One thing, as it was drawn or as it was read from a picture; None is what could not be read."""

    shape: str | None
    colour: str | None
    size: str | None
    texture: str | None
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scenes:
    """Many scenes. The first ``things`` of each row's three are there.

    Attributes:
        things: (count,) how many there are.
        shape, colour, size, texture: (count, 3) indices into the names above.
        centre: (count, 3, 2) x and y of their middles.
        radius: (count, 3).
        tint: (count, 3, 3) how far each colour is from its pure form, in red, green and blue.
        phase: (count, 3, 2) where in its period a texture begins, in x and y.
        inside: (count,) whether the first thing lies inside the second.
        ground: (count,) index into `GROUNDS`.
        tone: (count,) how far the ground is from its pure grey.
        grain: (count, 5, 5) a rough ground, lighter and darker in places; 0 for a smooth one.
    """

    things: Tensor
    shape: Tensor
    colour: Tensor
    size: Tensor
    texture: Tensor
    centre: Tensor
    radius: Tensor
    tint: Tensor
    phase: Tensor
    inside: Tensor
    ground: Tensor
    tone: Tensor
    grain: Tensor

    def __len__(self) -> int:
        """How many scenes there are."""
        return len(self.things)

    def __getitem__(self, rows: Tensor | slice) -> "Scenes":
        """Some of them."""
        return Scenes(*(getattr(self, field.name)[rows] for field in fields(self)))

    def described(self) -> list[tuple[list[Thing], str]]:
        """The things of each scene, and the name of its ground."""
        columns = (self.things, self.shape, self.colour, self.size, self.texture, self.centre, self.radius, self.ground)
        return [
            (
                [
                    Thing(SHAPES[s], COLOURS[c], SIZES[z], TEXTURES[t], x, y, r)
                    for s, c, z, t, (x, y), r in list(zip(*of_things, strict=True))[:count]
                ],
                GROUNDS[ground],
            )
            for count, *of_things, ground in zip(*(column.tolist() for column in columns), strict=True)
        ]


def scenes(count: int, generator: Generator, held_out: bool = False) -> Scenes:
    """Random scenes without the combinations in `HELD_OUT`; with ``held_out``, the first thing of each is one of them.

    One in four has two things alike, so that there is something to count, and one in six a thing inside another.
    """

    def draw(most: int, *shape: int) -> Tensor:
        return torch.randint(most, (count, *shape), generator=generator)

    def between(low: float | Tensor, high: float | Tensor, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    things = torch.bucketize(draw(10), torch.tensor([3, 7]), right=True) + 1  # one, two, three: 3, 4 and 3 in ten
    every = [(c, s) for c in range(len(COLOURS)) for s in range(len(SHAPES))]
    rare = torch.tensor([(COLOURS.index(colour), SHAPES.index(shape)) for colour, shape in HELD_OUT])
    pairs = torch.tensor([pair for pair in every if list(pair) not in rare.tolist()])
    pair = pairs[draw(len(pairs), MOST)]
    if held_out:
        pair[:, 0] = rare[draw(len(rare))]
    colour, shape = pair.unbind(2)
    size, texture = draw(2, MOST), (draw(4, MOST) - 1).clamp(min=0)
    size[:, 1:] = torch.where(things[:, None] == MOST, 0, size[:, 1:])  # of three, one is large at most

    inside = (things > 1) & (draw(6) == 0)
    shape[:, 1] = torch.where(inside, draw(2), shape[:, 1])  # only a circle or a square has room inside
    for c, s in rare.tolist():  # which may have made one of them
        colour[:, 1] = torch.where((colour[:, 1] == c) & (shape[:, 1] == s), (c + 1) % len(COLOURS), colour[:, 1])
    same = colour[:, 0] == colour[:, 1]
    inside &= ~same
    size[:, 0], size[:, 1] = torch.where(inside, 0, size[:, 0]), torch.where(inside, 1, size[:, 1])
    texture[:, :2] = torch.where(inside[:, None], 0, texture[:, :2])
    alike = (things > 1) & ~inside & (draw(3) == 0)
    for part in (shape, colour):
        part[:, 1] = torch.where(alike, part[:, 0], part[:, 1])

    least, most = torch.tensor(RADII)[size].unbind(2)
    radius = between(least, most, MOST)
    radius[:, 1] = torch.where(inside, between(*OUTER), radius[:, 1])
    centre = _places(things, radius, inside, generator)
    rough = 0.08 * draw(2, 1, 1) * torch.randn(count, 5, 5, generator=generator).clamp(-1, 1)
    tint, phase = between(-0.05, 0.05, MOST, 3), between(0, 1, MOST, 2)
    ground, tone = draw(len(GROUNDS)), between(-0.04, 0.04)
    return Scenes(things, shape, colour, size, texture, centre, radius, tint, phase, inside, ground, tone, rough)


def _places(things: Tensor, radius: Tensor, inside: Tensor, generator: Generator) -> Tensor:
    """Middles (count, 3, 2) at which no two things touch, except that the first may lie inside the second."""
    centre = torch.full((len(things), MOST, 2), 0.5)
    there = torch.arange(MOST) < things[:, None]
    left = torch.arange(len(things))
    while len(left):
        reach = (radius[left] + EDGE)[..., None]
        new = reach + (1 - 2 * reach) * torch.rand(len(left), MOST, 2, generator=generator)
        within = inside[left]
        aside = 0.06 * (torch.rand(len(left), 2, generator=generator) - 0.5)
        new[:, 0] = torch.where(within[:, None], new[:, 1] + aside, new[:, 0])
        centre[left] = new
        far = (new[:, :, None] - new[:, None]).norm(dim=3) >= radius[left][:, :, None] + radius[left][:, None] + GAP
        apart = torch.stack([far[:, 0, 1] | within, far[:, 0, 2], far[:, 1, 2]], 1)
        both = torch.stack([there[left][:, 1], there[left][:, 2], there[left][:, 2]], 1)
        left = left[~(apart | ~both).all(1)]
    return centre
