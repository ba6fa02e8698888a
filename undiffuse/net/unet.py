"""The U-Net of diffusion: any channels, height and width, including odd, tiny and non-square ones.

One network; small ones for a laptop and DDPM's, ADM's and Imagen's are settings of it:

    UNet()                                                                          small pictures, one skip a level
    UNet(128, (1, 2, 2, 2), blocks=2, attention=(1,), embedding=512, groups=32, heads=1, dense=True)     DDPM, 32 x 32
    UNet(192, (1, 2, 3, 4), blocks=3, attention=3, embedding=768, groups=32, heads=12, dense=True)       ADM, 64 x 64
    UNet(128, (1, 1, 2, 4, 8), blocks=(0, 2, 4, 8, 8), heads=8, skip_scale=0.7071, resampling="early")   Imagen, 256
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths, scaled
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import (
    SQUARE,
    GroupNorm,
    Grow,
    Kernel,
    PixelAttention,
    Resampling,
    Residual,
    Shrink,
    convolution,
    parts,
    zero,
)
from undiffuse.net.transformer import CrossAttention


@dataclass(frozen=True)
class UNet:
    """One level for each resolution, half as high and wide as the one above (odd sizes are rounded up).

    width       channels of the finest level
    multiples   channels of each level, in multiples of ``width``, finest first
    blocks      residual blocks of a level on the way down, and again on the way up: one number, or one for each level;
                a level of 0 is only passed through
    attention   how many of the coarsest levels have self- and cross-attention; or which levels, 0 the finest: (1, 3)
    embedding   width of the vector that the noise level and the conditions become
    heads       heads of attention at most, each at least 16 channels wide
    groups      groups of a normalisation at most, each of at least 4 channels
    dropout     share of the values dropped inside each block in training
    dense       False: one skip a level. True: every block hands over its result, which takes a block more on the way
                up, and two blocks in the middle (Ho et al. 2020, appendix B; Dhariwal and Nichol 2021)
    skip_scale  what the skips are multiplied by; 1/sqrt 2 in Saharia et al. 2022, appendix B
    resampling  how resolution changes. "learned": by a convolution of stride 2, and one after enlarging; "early":
                before enlarging, four times cheaper (Saharia et al. 2022); "plain": by averages and copies alone
    """

    width: int = 32
    multiples: tuple[int, ...] = (1, 2)
    blocks: int | tuple[int, ...] = 1
    attention: int | tuple[int, ...] = 1
    embedding: int = 128
    heads: int = 4
    groups: int = 8
    dropout: float = 0.0
    dense: bool = False
    skip_scale: float = 1.0
    resampling: Resampling = "learned"

    def __post_init__(self) -> None:
        levels = len(self.multiples)
        if min(self.width, levels, self.heads, self.groups, *self.multiples) < 1:
            raise UserError(f"a U-Net needs at least one level, channel, head and group, not {self}")
        blocks = self.blocks if isinstance(self.blocks, tuple) else (self.blocks,) * levels
        if len(blocks) != levels or min(blocks) < 0 or blocks[-1] < 1:
            raise UserError(
                f"a U-Net of {levels} levels needs one number of blocks, or one for each level, "
                f"and at least 1 at the coarsest, not {self.blocks}"
            )
        attention = self.attention if isinstance(self.attention, tuple) else (min(self.attention, 0),)
        if not all(0 <= level < levels for level in attention):
            raise UserError(
                f"attention needs a count of levels from 0, or which, from 0 to {levels - 1}, not {self.attention}"
            )
        if not 0 <= self.dropout < 1 or not self.skip_scale > 0:
            raise UserError(
                f"a U-Net needs dropout in [0, 1) and skip_scale > 0, not {self.dropout}, {self.skip_scale}"
            )

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.embedding

    def width_of(self, level: int) -> int:
        """Channels of a level, 0 the finest."""
        return self.width * self.multiples[level]

    def blocks_of(self, level: int) -> int:
        """Residual blocks of a level, on the way down."""
        return self.blocks[level] if isinstance(self.blocks, tuple) else self.blocks

    def attends(self, level: int) -> bool:
        """Whether a level has attention."""
        if isinstance(self.attention, tuple):
            return level in self.attention
        return level >= len(self.multiples) - self.attention

    def build(self, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> "NestedUNet":
        """The module, for pictures of ``shape`` (channels, height, width), each 1 or more.

        Raises:
            UserError: Data that are no pictures, or tokens if no level has attention.
        """
        self.check(routes)
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(
                f"a U-Net takes pictures (channels, height, width) of any size, not data of shape {tuple(shape)}; "
                "use an MLP"
            )
        return NestedUNet(self, shape[0], routes, out_multiple)

    def check(self, routes: Widths) -> None:
        """Raises UserError for tokens if no level has attention."""
        if not any(map(self.attends, range(len(self.multiples)))):
            routes.require_only("a U-Net without attention", "channels")


class NestedUNet(nn.Module):
    """(batch, channels, height, width) -> (batch, out_multiple * channels, height, width), of any height and width.

    Ronneberger et al. 2015 with the residual blocks of ADM. The contract is in ``undiffuse.net``.
    """

    def __init__(
        self, design: UNet, channels: int, routes: Widths, out_multiple: int = 1, kernel: Kernel = SQUARE
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stem = convolution(channels + routes.channels, design.width_of(0), kernel)
        self.levels = _Level(design, routes, 0, design.width_of(0), kernel)
        self.norm = GroupNorm(design.width_of(0), design.groups)
        self.head = zero(convolution(design.width_of(0), out_multiple * channels, kernel))

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        """The prediction. Raises UserError for another count of channels."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise UserError(
                f"this network takes pictures (batch, {self.channels}, height, width), not {tuple(x.shape)}"
            )
        h = self.levels(self.stem(beside(x, routes).contiguous(memory_format=torch.channels_last)), routes)
        y: Tensor = self.head(F.silu(self.norm(h)))
        return y.to(x.dtype, memory_format=torch.contiguous_format)  # what `combine` takes in one pass


def beside(x: Tensor, routes: Routes) -> Tensor:
    """Pictures x with the channels of ``routes`` after their own, scaled to their height and width."""
    if routes.channels is None:
        return x
    return torch.cat([x, scaled(routes.channels, x.shape[2:]).to(x.dtype).expand(x.shape[0], -1, -1, -1)], 1)


class _Level(nn.Module):
    """One resolution and, inside it, all coarser ones: blocks down; shrink, the next level, grow; blocks up.

    What the blocks of the way down hand over is taken by the first ones of the way up, the latest first.
    """

    def __init__(self, design: UNet, routes: Widths, level: int, h: int, kernel: Kernel) -> None:
        super().__init__()
        self.dense, self.skip_scale = design.dense, design.skip_scale
        width, count, attends = design.width_of(level), design.blocks_of(level), design.attends(level)
        coarsest = level == len(design.multiples) - 1
        handed = [h]  # channels of what comes in, and of what each block makes of it
        self.down, self.middle, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _ in range(count):
            self.down.append(_Block(design, routes, handed[-1], width, attends, kernel))
            handed.append(width)
        h = handed[-1]
        if not coarsest:
            below = design.width_of(level + 1)  # dense skips leave it to the blocks to change the width
            enter, leave = (h, below) if self.dense else (below, width)
            self.shrink = Shrink(h, enter, design.resampling, kernel)
            self.inner = _Level(design, routes, level + 1, enter, kernel)
            self.grow = Grow(below, leave, design.resampling, kernel)
            h = leave
        elif self.dense:
            self.middle.append(_Block(design, routes, h, width, attends, kernel))
            self.middle.append(_Block(design, routes, width, width, False, kernel))
        if not self.dense:
            handed = [] if coarsest else handed[-1:]
        for _ in range(count + self.dense if handed else 0):
            self.up.append(_Block(design, routes, h + (handed.pop() if handed else 0), width, attends, kernel))
            h = width

    def forward(self, h: Tensor, routes: Routes) -> Tensor:
        """(batch, channels, height, width) -> (batch, the level's width, height, width)."""
        handed = [h]
        for block in self.down:
            h = block(h, routes)
            handed.append(h)
        handed = handed if self.dense else handed[-1:]
        for block in self.middle:
            h = block(h, routes)
        if hasattr(self, "inner"):
            h = self.grow(self.inner(self.shrink(h), routes), h.shape[-2:])
        for block in self.up:
            if handed:
                skip = handed.pop()
                h = torch.cat([h, skip if self.skip_scale == 1 else self.skip_scale * skip], dim=1)
            h = block(h, routes)
        return h


class _Block(nn.Module):
    """A residual block and, at a level that attends, attention among pixels and to tokens."""

    def __init__(self, design: UNet, routes: Widths, wide_in: int, width: int, attends: bool, kernel: Kernel) -> None:
        super().__init__()
        self.residual = Residual(wide_in, width, routes.vector, design.groups, design.dropout, kernel)
        self.look = PixelAttention(width, design.heads, design.groups) if attends else nn.Identity()
        heads = parts(width, most=design.heads, smallest=16)
        self.across = CrossAttention(width, heads, routes.tokens) if attends and routes.tokens else None

    def forward(self, h: Tensor, routes: Routes) -> Tensor:
        h = self.look(self.residual(h, routes.vector))
        if self.across is None:
            return h
        return self.across(h.flatten(2).mT, routes).mT.unflatten(2, h.shape[2:])
