"""What a network restores a picture from: fewer pixels, a picture with a hole, its edges; made of the picture itself.

    entry = task.entry(x, noise)         the condition of pictures x, and so of any data without further ones

Training makes it anew in every step, after pictures were mirrored or augmented, from the noise of that step; so a hole
is never twice in the same place, and training still resumes bit for bit. ``speed`` says how noisy the condition is
beside x (`undiffuse.condition.diffused`): 0 is CDE, 1 CDiffE, between CMDE.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.condition.conditions import Entry
from undiffuse.condition.picture import Picture
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise

Shape = tuple[int, ...]  # (channels, height, width)


class Task(Protocol):
    """What is left of a picture.

    Attributes:
        condition: Its name as a condition.
        asks: How a user gives it, in words.
    """

    condition: ClassVar[str]
    asks: ClassVar[str]

    def specification(self, shape: Shape) -> Picture:
        """Of pictures of a shape. Raises UserError where there is no such thing."""
        ...

    def left(self, x: Tensor, noise: Noise) -> Tensor:
        """What is left of pictures x (batch, channels, height, width) about [-1, 1], likewise."""
        ...


@dataclass(frozen=True)
class SuperResolution:
    """A picture with ``fewer`` times fewer pixels in each direction, each the mean of those in its place."""

    fewer: int = 4
    speed: float = 0.0
    condition: ClassVar[str] = "low"
    asks: ClassVar[str] = "--low SMALL.png"

    def __post_init__(self) -> None:
        if self.fewer < 2:
            raise UserError(f"super-resolution is of at least 2 times fewer pixels, not {self.fewer}")

    def specification(self, shape: Shape) -> Picture:
        """As many channels. Raises UserError where the sides do not divide."""
        channels, height, width = shape
        if height % self.fewer or width % self.fewer:
            raise UserError(
                f"{height} x {width} pixels are not made {self.fewer} times smaller; change --fewer or size"
            )
        return Picture((channels, height // self.fewer, width // self.fewer), speed=self.speed)

    def left(self, x: Tensor, noise: Noise) -> Tensor:
        """(batch, channels, height/fewer, width/fewer)."""
        return F.avg_pool2d(x, self.fewer)


@dataclass(frozen=True)
class Inpainting:
    """A picture with a rectangular hole, grey, and a channel that is 1 where the picture is known and -1 in the hole.

    Each side of the hole is a share of the picture's, between ``least`` and ``most``; it lies anywhere.
    """

    least: float = 0.3
    most: float = 0.6
    speed: float = 0.0
    condition: ClassVar[str] = "known"
    asks: ClassVar[str] = "--known PICTURE.png --mask MASK.png"

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most < 1:
            raise UserError(f"sides of a hole are between 0 and 1, the least first, not {self.least}, {self.most}")

    def specification(self, shape: Shape) -> Picture:
        """A channel more."""
        return Picture((shape[0] + 1, *shape[1:]), speed=self.speed)  # type: ignore[arg-type]

    def left(self, x: Tensor, noise: Noise) -> Tensor:
        """(batch, channels + 1, height, width)."""
        inside = []
        for axis in (2, 3):
            dice = noise.uniform(torch.empty(len(x), 2, device=x.device))
            size = self.least + (self.most - self.least) * dice[:, :1]
            start, place = (
                (1 - size) * dice[:, 1:],
                (torch.arange(x.shape[axis], device=x.device) + 0.5) / x.shape[axis],
            )
            inside.append((start <= place) & (place < start + size))
        return with_hole(x, ~(inside[0][:, None, :, None] & inside[1][:, None, None, :]))


def with_hole(x: Tensor, known: Tensor) -> Tensor:
    """Pictures about [-1, 1], grey where they are not ``known`` (batch, 1, height, width), and what is known."""
    return torch.cat([x * known, 2.0 * known.expand_as(x[:, :1]) - 1], 1)


@dataclass(frozen=True)
class Edges:
    """Where brightness changes: the length of its gradient by Sobel's filter, white on black."""

    speed: float = 0.0
    condition: ClassVar[str] = "edges"
    asks: ClassVar[str] = "--edges DRAWING.png"

    def specification(self, shape: Shape) -> Picture:
        """One channel."""
        return Picture((1, *shape[1:]), speed=self.speed)  # type: ignore[arg-type]

    def left(self, x: Tensor, noise: Noise) -> Tensor:
        """(batch, 1, height, width); half the steepest edge is white."""
        across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=x.device) / 8
        padded = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        slopes = F.conv2d(padded, torch.stack([across, across.T])[:, None])
        return (4 * slopes.norm(dim=1, keepdim=True) - 1).clamp(max=1)


def left_of(task: Task, x: Tensor, noise: Noise) -> Tensor:
    """What is left of pictures x as they are stored: bytes, or numbers about [-1, 1]."""
    return task.left(about_one(x), noise)


def entry_of(task: Task, x: Tensor, noise: Noise) -> Entry:
    """The same as a condition."""
    return task.specification(tuple(x.shape[1:])).entry(left_of(task, x, noise))


def as_large(left: Tensor, like: Tensor) -> Tensor:
    """What is left, of any channels and size, as pictures of the shape of others."""
    channels = like.shape[1]
    seen = left[:, :channels] if left.shape[1] >= channels else left[:, :1].expand(-1, channels, -1, -1)
    return F.interpolate(seen, size=like.shape[2:])


def about_one(x: Tensor) -> Tensor:
    """Bytes as numbers in [-1, 1]; numbers as they are."""
    return x / 127.5 - 1 if x.dtype == torch.uint8 else x
