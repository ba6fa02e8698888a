"""The blocks of a U-Net: residual blocks, self-attention of pixels, and changes of resolution.

Pictures are (batch, channels, height, width), channels-last in memory, in which convolutions are fastest.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Resampling = Literal["learned", "early", "plain"]
Kernel = tuple[int, int]  # (height, width)
SQUARE: Kernel = (3, 3)


class Residual(nn.Module):
    """x + conv(SiLU((1 + scale) * norm(conv(SiLU(norm(x)))) + shift)): ADM's block.

    Scale and shift come from the vector of the noise level and the conditions.
    The last convolution starts at zero, so that the block starts as its shortcut. Dropout comes before it.
    """

    def __init__(
        self,
        wide_in: int,
        width: int,
        embedding: int,
        groups: int = 8,
        dropout: float = 0.0,
        kernel: Kernel = SQUARE,
    ) -> None:
        super().__init__()
        self.norm_in = GroupNorm(wide_in, groups)
        self.conv_in = convolution(wide_in, width, kernel)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.norm_out = GroupNorm(width, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zero(convolution(width, width, kernel))
        self.shortcut = mix(wide_in, width)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(batch, wide_in, height, width), (batch or 1, embedding) -> (batch, width, height, width)."""
        scale, shift = self.modulation(vector)[..., None, None].chunk(2, dim=1)
        h = self.norm_out(self.conv_in(F.silu(self.norm_in(x))))
        h = torch.addcmul(shift, h, 1 + scale)
        return self.shortcut(x) + self.conv_out(self.dropout(F.silu(h)))


class PixelAttention(nn.Module):
    """Multi-head self-attention of pixels, added to x: softmax(q kᵀ / sqrt(d)) v.

    There are ``heads`` heads, or fewer if a head would have less than 16 channels.
    """

    def __init__(self, width: int, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        self.heads = parts(width, most=heads, smallest=16)
        self.norm = GroupNorm(width, groups)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = zero(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, height, width) -> the same shape."""
        pixels = self.norm(x).flatten(2).mT  # (batch, height * width, channels)
        split = self.query_key_value(pixels).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (batch, heads, height * width, channels / heads)
        read = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.out(read).mT.unflatten(2, x.shape[-2:])


class GroupNorm(nn.GroupNorm):
    """As many groups as divide the channels, up to ``most``, each of at least 4 (Wu and He 2018)."""

    def __init__(self, width: int, most: int) -> None:
        super().__init__(parts(width, most, smallest=4), width)


class Shrink(nn.Sequential):
    """Half as high and wide, rounded up: a convolution of stride 2, or the mean of each square of 4 pixels."""

    def __init__(self, wide_in: int, width: int, resampling: Resampling, kernel: Kernel = SQUARE) -> None:
        if resampling == "plain":
            super().__init__(nn.AvgPool2d(2, ceil_mode=True), mix(wide_in, width))
        else:
            super().__init__(convolution(wide_in, width, kernel, stride=2))


class Grow(nn.Module):
    """Enlarged to any size by nearest-neighbour copies, and convolved: after it, before it ("early"), or not
    ("plain")."""

    def __init__(self, wide_in: int, width: int, resampling: Resampling, kernel: Kernel = SQUARE) -> None:
        super().__init__()
        self.early = resampling != "learned"  # mixing channels commutes with copying pixels, and is cheaper before
        self.conv = mix(wide_in, width) if resampling == "plain" else convolution(wide_in, width, kernel)

    def forward(self, h: Tensor, size: tuple[int, int]) -> Tensor:
        """(batch, wide_in, height, width) -> (batch, width, *size)."""
        if self.early:
            return F.interpolate(self.conv(h), size=size, mode="nearest")
        return self.conv(F.interpolate(h, size=size, mode="nearest"))


def convolution(wide_in: int, width: int, kernel: Kernel = SQUARE, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width, or, with a stride, divides them, rounded up; the kernel is odd."""
    return nn.Conv2d(wide_in, width, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2))


def mix(wide_in: int, width: int) -> nn.Module:
    """A 1 x 1 convolution from ``wide_in`` to ``width`` channels; the identity if they are equal."""
    return nn.Identity() if wide_in == width else nn.Conv2d(wide_in, width, 1)


def parts(width: int, most: int, smallest: int) -> int:
    """The largest number of equal parts of ``width``, up to ``most``, each of at least ``smallest``."""
    return max((n for n in range(1, most + 1) if width % n == 0 and width // n >= smallest), default=1)


def zero(layer: nn.Module) -> nn.Module:
    """The layer with all parameters set to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
