"""A compact U-Net for small pictures: 1 to 64 pixels a side, odd, tiny and non-square sizes included."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.errors import UserError
from undiffuse.net.embed import Condition


@dataclass(frozen=True)
class UNet:
    """A compact U-Net: one level a resolution, each half as high and wide as the one above.

    width      channels of the finest level
    multiples  channels of each level, in multiples of ``width``, finest first
    blocks     residual blocks of a level on the way down, and again on the way up
    attention  how many of the coarsest levels look at the whole picture
    embedding  width of the noise level's and the label's vector
    """

    width: int = 32
    multiples: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: int = 1
    embedding: int = 128

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, *self.multiples, len(self.multiples)) < 1 or self.attention < 0:
            raise UserError(
                f"a U-Net needs at least one level and block, of at least one channel, and attention from 0, not {self}"
            )

    def build(self, shape: tuple[int, ...], classes: int = 0, out_multiple: int = 1) -> "CompactUNet":
        """The module, for pictures of ``shape`` (channels, height, width) with ``classes`` labels (0: none)."""
        if len(shape) != 3:
            raise UserError(
                f"a U-Net takes pictures (channels, height, width), not data of shape {tuple(shape)}; use an MLP"
            )
        return CompactUNet(self, shape[0], classes, out_multiple)


class CompactUNet(nn.Module):
    """(batch, channels, height, width) -> (batch, out_multiple * channels, height, width), of any height and width.

    Ronneberger et al. 2015 with the residual blocks of DDPM (Ho et al. 2020, appendix B): on the way up each level
    is resized to exactly the size it had on the way down. The contract is in ``undiffuse.net``.
    """

    def __init__(self, design: UNet, channels: int, classes: int = 0, out_multiple: int = 1) -> None:
        super().__init__()
        self.channels = channels
        widths = [design.width * multiple for multiple in design.multiples]
        attends = [level >= len(widths) - design.attention for level in range(len(widths))]
        pairs = list(pairwise(widths))  # (finer, coarser) neighbours

        def stage(wide_in: int, level: int) -> _Stage:
            return _Stage(wide_in, widths[level], design.blocks, attends[level], design.embedding)

        self.condition = Condition(design.embedding, classes)
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stage(width, level) for level, width in enumerate(widths))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.grow = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in pairs)
        self.up = nn.ModuleList(stage(2 * fine, level) for level, (fine, _) in enumerate(pairs))
        self.norm = _group_norm(widths[0])
        self.head = _zero(nn.Conv2d(widths[0], out_multiple * channels, 3, padding=1))

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The prediction at noise level ``log_snr``. Raises UserError for another count of channels."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise UserError(
                f"this network takes pictures (batch, {self.channels}, height, width), not {tuple(x.shape)}"
            )
        condition = self.condition(log_snr, label)
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for stage, shrink in zip(self.down, self.shrink, strict=False):
            h = stage(h, condition)
            skips.append(h)
            h = shrink(h)
        h = self.down[-1](h, condition)
        for stage, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            skip = skips.pop()
            h = grow(F.interpolate(h, size=skip.shape[-2:], mode="nearest"))
            h = stage(torch.cat([h, skip], dim=1), condition)
        return self.head(F.silu(self.norm(h))).to(x.dtype)


class _Stage(nn.Module):
    """What happens at one resolution: residual blocks, each followed by attention if the level attends."""

    def __init__(self, wide_in: int, width: int, blocks: int, attends: bool, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Residual(wide_in if first else width, width, embedding) for first in [True] + [False] * (blocks - 1)
        )
        self.looks = nn.ModuleList(_Attention(width) if attends else nn.Identity() for _ in range(blocks))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        for block, look in zip(self.blocks, self.looks, strict=True):
            h = look(block(h, condition))
        return h


class _Residual(nn.Module):
    """x + conv(SiLU(scale * norm(conv(SiLU(norm(x)))) + shift)), scale and shift told by the condition (ADM's block).

    The last convolution starts at zero, so that a deep network starts as a shallow one.
    """

    def __init__(self, wide_in: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = _group_norm(wide_in)
        self.conv_in = nn.Conv2d(wide_in, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.norm_out = _group_norm(width)
        self.conv_out = _zero(nn.Conv2d(width, width, 3, padding=1))
        self.shortcut = nn.Identity() if wide_in == width else nn.Conv2d(wide_in, width, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition)[..., None, None].chunk(2, dim=1)
        h = self.norm_out(self.conv_in(F.silu(self.norm_in(x))))
        h = torch.addcmul(h + shift, h, scale)
        return self.shortcut(x) + self.conv_out(F.silu(h))


class _Attention(nn.Module):
    """x + what each pixel reads from all others: multi-head self-attention, softmax(q kᵀ / sqrt(d)) v."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = _parts(width, most=4, smallest=16)
        self.norm = _group_norm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = _zero(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).mT  # (batch, height * width, channels)
        split = self.query_key_value(pixels).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (batch, heads, height * width, channels / heads)
        read = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.out(read).mT.unflatten(2, x.shape[-2:])


def _group_norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(_parts(width, most=8, smallest=4), width)


def _parts(width: int, most: int, smallest: int) -> int:
    """Into how many equal parts ``width`` splits: as many as go, up to ``most``, each of at least ``smallest``."""
    return max((n for n in range(1, most + 1) if width % n == 0 and width // n >= smallest), default=1)


def _zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
