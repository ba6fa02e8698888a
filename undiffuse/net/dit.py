"""The diffusion transformer: self-attention of a picture's patches (Peebles and Xie 2023)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import zero
from undiffuse.net.joint import JointBlocks
from undiffuse.net.transformer import TransformerBlock, angles_over, rotary
from undiffuse.net.unet import beside


@dataclass(frozen=True)
class DiT:
    """A transformer of patches.

    patch      pixels of a patch along each side; other pictures are padded, and cropped again
    width      of each patch's vector
    depth      blocks
    heads      of attention
    positions  rotary: any size, also one that it was not trained on; learned: only the trained size
    qk_norm    queries and keys of unit length, which keeps attention logits bounded
    dropout    of what each block adds
    words      cross: places attend to the words of a text; joint: both to both (MM-DiT; see `undiffuse.net.joint`)
    """

    patch: int = 2
    width: int = 192
    depth: int = 6
    heads: int = 6
    positions: Literal["rotary", "learned"] = "rotary"
    qk_norm: bool = True
    dropout: float = 0.0
    words: Literal["cross", "joint"] = "cross"

    def __post_init__(self) -> None:
        if min(self.patch, self.width, self.depth, self.heads) < 1 or not 0 <= self.dropout < 1:
            raise UserError(f"a transformer needs patch, width, depth and heads from 1, dropout in [0, 1), not {self}")

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.width

    def build(self, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> "PatchTransformer":
        """The module, for pictures of ``shape`` (channels, height, width); raises UserError for anything else."""
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(f"a DiT takes pictures (channels, height, width), not data of shape {tuple(shape)}")
        return PatchTransformer(self, shape, routes, out_multiple)


class PatchTransformer(nn.Module):
    """(batch, channels, height, width) -> (batch, out_multiple * channels, height, width); see ``undiffuse.net``."""

    def __init__(self, design: DiT, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> None:
        super().__init__()
        channels, *size = shape
        self.design, self.channels, self.out_channels = design, channels, out_multiple * channels
        self.places = tuple(-(-side // design.patch) for side in size)
        self.stem = nn.Linear((channels + routes.channels) * design.patch**2, design.width)
        learned = design.positions == "learned"
        self.where = (
            nn.Parameter(0.02 * torch.randn(self.places[0] * self.places[1], design.width)) if learned else None
        )
        joint = design.words == "joint" and routes.tokens
        settings = design.width, design.heads, routes, design.qk_norm
        self.blocks = nn.ModuleList(
            [JointBlocks(design.depth, *settings, design.dropout)]
            if joint
            else [TransformerBlock(*settings, dropout=design.dropout) for _ in range(design.depth)]
        )
        self.norm = nn.LayerNorm(design.width, elementwise_affine=False)
        self.modulation = zero(nn.Linear(routes.vector, 2 * design.width))
        self.head = zero(nn.Linear(design.width, self.out_channels * design.patch**2))

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        """The prediction. Raises UserError for other channels, or a size not learned."""
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise UserError(
                f"this network takes pictures (batch, {self.channels}, height, width), not {tuple(x.shape)}"
            )
        height, width = x.shape[2:]
        patch = self.design.patch
        padded = F.pad(beside(x, routes), (0, -width % patch, 0, -height % patch))
        rows, columns = padded.shape[2] // patch, padded.shape[3] // patch
        h = self.stem(F.unfold(padded, patch, stride=patch).mT)
        h, turn = self._placed(h, rows, columns)
        for block in self.blocks:
            h = block(h, routes, turn)
        shift, scale = self.modulation(routes.vector)[:, None].chunk(2, dim=-1)
        y = self.head(torch.addcmul(shift, self.norm(h), 1 + scale)).mT
        whole = F.fold(y.float(), padded.shape[2:], patch, stride=patch)
        return whole[:, :, :height, :width].to(x.dtype)

    def _placed(self, h: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor | None]:
        """Patches with their learned positions, or patches and the rotation of their queries and keys."""
        if self.where is None:
            pairs = self.design.width // self.design.heads // 2
            return h, rotary(angles_over(rows, columns, pairs, device=h.device))
        if (rows, columns) != self.places:
            raise UserError(
                f"learned positions are for {self.places[0]} x {self.places[1]} patches, not {rows} x {columns}; "
                "train with --net.positions rotary for other sizes"
            )
        return h + self.where, None
