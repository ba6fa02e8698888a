"""Augmentation: more pictures from few, and a network that is told what was done to them.

A small set is learned by heart; changed copies are not so easily. But a model of changed pictures draws changed
pictures. So the network is told what was done, as one more vector: all zeros, and then absent, for a picture that is as
it was, which is what samples are (Karras et al. 2022, "Elucidating the design space of diffusion-based generative
models", appendix F.2; after Jun et al. 2020). Each augmentation is applied to a share of the pictures, each on its own,
so most are as they were, or nearly.

    flip     mirrored left to right             shift    moved by up to an eighth, in whole pixels
    rotate   by up to 20 degrees                crop     a part of at least 0.7 of each side, scaled up
    colour   brighter, more contrast or         cutout   a square of half the side is of the mean colour
             saturation, or less

Edges that a shift or a turn would leave empty are mirrored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Vector
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.noise import Noise, SeededNoise

Name = Literal["flip", "shift", "rotate", "crop", "colour", "cutout"]
TOLD = "augmentation"  # the condition's name


class Augmentation(Protocol):
    """A change of pictures.

    Attributes:
        drawn: How many numbers, uniform in [-1, 1), say what is done to a picture.
    """

    drawn: ClassVar[int]

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """Pictures (batch, channels, height, width) float, each changed by its numbers (batch, drawn)."""
        ...


@dataclass(frozen=True)
class Flip:
    """Mirrored left to right."""

    drawn: ClassVar[int] = 0

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        return x.flip(-1)


@dataclass(frozen=True)
class Shift:
    """Moved by up to ``most`` of each side, in whole pixels."""

    most: float = 1 / 8
    drawn: ClassVar[int] = 2

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        count, _, height, width = x.shape
        rows, columns = (
            _mirrored(torch.arange(side, device=x.device) - (by[:, k : k + 1] * self.most * side).round(), side)
            for k, side in enumerate((height, width))
        )
        which = torch.arange(count, device=x.device)[:, None, None]
        return x[which, :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


@dataclass(frozen=True)
class Rotate:
    """Turned by up to ``most`` degrees about the middle."""

    most: float = 20.0
    drawn: ClassVar[int] = 1

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        angle = by[:, 0] * math.radians(self.most)
        sides = x.shape[-1] / x.shape[-2]  # grids run from -1 to 1 along both sides
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rows = [torch.stack([cos, -sin / sides, zero], 1), torch.stack([sin * sides, cos, zero], 1)]
        return _seen_through(x, torch.stack(rows, 1))


@dataclass(frozen=True)
class Crop:
    """A part of at least ``least`` of each side, anywhere, scaled up to the whole."""

    least: float = 0.7
    drawn: ClassVar[int] = 3

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        size = 1 - (1 - self.least) * (by[:, 0] + 1) / 2
        across, down = ((1 - size) * by[:, k] for k in (1, 2))
        zero = torch.zeros_like(size)
        rows = [torch.stack([size, zero, across], 1), torch.stack([zero, size, down], 1)]
        return _seen_through(x, torch.stack(rows, 1))


@dataclass(frozen=True)
class Colour:
    """Brightness by up to ``brightness`` of the range, contrast and saturation by a factor of up to ``factor``."""

    brightness: float = 0.15
    factor: float = 1.4
    drawn: ClassVar[int] = 3

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        light, contrast, saturation = by[:, :, None, None, None].unbind(1)
        mean, spread = (
            x.mean((1, 2, 3), keepdim=True),
            x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True),
        )
        x = mean + (x - mean) * self.factor**contrast + self.brightness * spread * light
        grey = x.mean(1, keepdim=True)
        return grey + (x - grey) * self.factor**saturation


@dataclass(frozen=True)
class Cutout:
    """A square of ``size`` of each side, anywhere, is the picture's mean (DeVries and Taylor 2017)."""

    size: float = 0.5
    drawn: ClassVar[int] = 2

    def __call__(self, x: Tensor, by: Tensor) -> Tensor:
        """See `Augmentation`."""
        near = []
        for k, side in enumerate(x.shape[-2:]):
            place = (torch.arange(side, device=x.device) + 0.5) / side * 2 - 1
            near.append((place - by[:, k : k + 1]).abs() < self.size)
        inside = near[0][:, None, :, None] & near[1][:, None, None, :]
        return torch.where(inside, x.mean((2, 3), keepdim=True), x)


AUGMENTATIONS: dict[Name, Augmentation] = {
    "flip": Flip(),
    "shift": Shift(),
    "rotate": Rotate(),
    "crop": Crop(),
    "colour": Colour(),
    "cutout": Cutout(),
}


def told(names: Sequence[Name]) -> Vector:
    """What a network is told: for each augmentation whether it was applied, and by how much."""
    return Vector(sum(1 + AUGMENTATIONS[name].drawn for name in names))


def augmented(x: Tensor, names: Sequence[Name], share: float, noise: Noise) -> tuple[Tensor, Entry]:
    """Pictures (batch, channels, height, width), to a ``share`` of which each augmentation is applied, and what was.

    They keep their type: bytes are rounded, and clipped to 0 to 255.
    """
    made, said = x.float(), []
    for name in names:
        change = AUGMENTATIONS[name]
        dice = noise.uniform(torch.empty(len(x), 1 + change.drawn, device=x.device))
        chosen, by = dice[:, :1] < share, 2 * dice[:, 1:] - 1
        made = torch.where(chosen[:, :, None, None], change(made, by), made)
        said.append(torch.cat([torch.ones_like(dice[:, :1]), by], 1) * chosen)
    vector = torch.cat(said, 1)
    if x.dtype == torch.uint8:
        made = made.round_().clamp_(0, 255)
    return made.to(x.dtype), Entry(vector, vector.any(1))


def shown_augmented(x: Tensor, names: Sequence[str], seed: int) -> Tensor:
    """Pictures to look at, to half of which each augmentation is applied.

    Raises UserError for an unknown augmentation, and other data than pictures.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise UserError(nearest(name, AUGMENTATIONS, "augmentation"))
    if x.ndim != 4:
        raise UserError("augmentations are of pictures; leave --augment out")
    known = [name for name in AUGMENTATIONS if name in names]
    return augmented(x, known, 0.5, SeededNoise(seed))[0]


def with_told(conditions: Conditions | None, entry: Entry) -> Conditions:
    """Conditions, and what was done to the pictures."""
    return Conditions({**(conditions.entries if conditions else {}), TOLD: entry})


def _mirrored(index: Tensor, side: int) -> Tensor:
    """Places outside of 0 to side - 1, mirrored at the edge: -1 is 0, side is side - 1."""
    folded = index.long() % (2 * side)
    return torch.minimum(folded, 2 * side - 1 - folded)


def _seen_through(x: Tensor, matrix: Tensor) -> Tensor:
    """Each place of a picture shows what lies where its matrix (batch, 2, 3) leads, in coordinates from -1 to 1."""
    grid = F.affine_grid(matrix.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
