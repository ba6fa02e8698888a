"""Fold a picture: neighbouring pixels become channels, so that the inner network works on fewer places.

    (channels, height, width)  ->  (channels p q, height / p, width / q)

The cost of a convolution falls by p q, and its reach grows. The pixels of one patch are predicted together from the
channels of one place, so fold along the simple direction: pictures of piano keys, which are constant from top to
bottom, fold well along their height. After the space-to-depth of Shi et al. 2016 ("sub-pixel" convolutions); in
diffusion, Luhman and Luhman 2022.

A convolution knows its position only from the padding at the border. If position matters, as for a condition that says
what is at the left edge, each place is given waves of its row and column as further channels (Liu et al. 2018).
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths, scaled
from undiffuse.core.errors import UserError
from undiffuse.net.unet import UNet


@dataclass(frozen=True)
class SpaceToDepth:
    """A U-Net on folded pictures.

    inner      the network inside; its shape is the folded one
    patch      (height, width) of the patch of pixels that becomes one place
    waves      how many waves of the row, and of the column, each place is given: half a period, one, two, four, ...
    """

    formerly: ClassVar[str] = "Folded"

    inner: UNet = field(default_factory=UNet)
    patch: tuple[int, int] = (2, 2)
    waves: int = 0

    def __post_init__(self) -> None:
        if self.waves < 0:
            raise UserError(f"waves are counted from 0, not {self.waves}")
        if min(self.patch) < 1:
            raise UserError(f"a patch is at least 1 x 1 pixels, not {self.patch[0]} x {self.patch[1]}")

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.inner.vector

    def build(self, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> "Unfolding":
        """The module, for pictures of ``shape`` (channels, height, width); raises UserError where they do not fold."""
        down, across = self.patch
        if len(shape) != 3 or shape[1] % down or shape[2] % across:
            raise UserError(
                f"pictures (channels, height, width) fold by {down} x {across} where these divide height and width, "
                f"not those of shape {tuple(shape)}"
            )
        channels, height, width = shape
        size = height // down, width // across
        folded = channels * down * across + 4 * self.waves
        inner = replace(routes, channels=routes.channels * down * across)
        return Unfolding(self.inner.build((folded, *size), inner, out_multiple), self, size, out_multiple)


class Unfolding(nn.Module):
    """A network on folded pictures as one on pictures, of ``size`` (rows, columns) when folded, though it takes others.

    The contract is in ``undiffuse.net``.
    """

    where: Tensor  # (4 waves, *size), a buffer, so that it moves with the network; not saved

    def __init__(self, inner: nn.Module, design: SpaceToDepth, size: tuple[int, int], out_multiple: int = 1) -> None:
        super().__init__()
        self.inner, self.patch, self.waves, self.out_multiple = inner, design.patch, design.waves, out_multiple
        self.register_buffer("where", places(*size, design.waves), persistent=False)

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        """(batch, channels, height, width) -> (batch, out_multiple * channels, height, width)."""
        folded = fold(x, self.patch)
        if routes.channels is not None:
            routes = routes._replace(channels=fold(scaled(routes.channels, x.shape[2:]), self.patch))
        if not self.waves:
            return unfold(self.inner(folded, routes), self.patch)
        rows, columns = folded.shape[2:]
        where = self.where if self.where.shape[1:] == (rows, columns) else places(rows, columns, self.waves)
        where = where.to(x).expand(x.shape[0], -1, -1, -1)
        y = self.inner(torch.cat([folded, where], dim=1), routes).unflatten(1, (self.out_multiple, -1))
        return unfold(y[:, :, : folded.shape[1]].flatten(1, 2), self.patch)  # its output for the waves is not used


def places(height: int, width: int, waves: int) -> Tensor:
    """Sines and cosines of pi 2^k u, k = 0, 1, ...; u in (0, 1) is how far down or across: (4 waves, height, width)."""
    frequencies = torch.pi * 2 ** torch.arange(waves)[:, None]

    def along(count: int) -> Tensor:
        angle = frequencies * ((torch.arange(count) + 0.5) / count)
        return torch.cat([angle.sin(), angle.cos()])  # (2 waves, count)

    down = along(height)[:, :, None].expand(-1, -1, width)
    return torch.cat([down, along(width)[:, None].expand(-1, height, -1)])


def fold(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """(batch, channels, height, width) -> (batch, channels p q, height / p, width / q)."""
    down, across = patch
    cut = x.unflatten(3, (-1, across)).unflatten(2, (-1, down))  # (batch, channels, rows, p, columns, q)
    return cut.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def unfold(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """The inverse of `fold`; further channels, such as a learned variance, come after the picture's own."""
    cut = x.unflatten(1, (-1, *patch))  # (batch, channels, p, q, rows, columns)
    return cut.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
