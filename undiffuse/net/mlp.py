"""A residual MLP for points of any shape: it trains in seconds on a CPU."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError


@dataclass(frozen=True)
class MLP:
    """A residual MLP: ``depth`` blocks of ``width`` units; its input is the point and random waves of it.

    width      units of the residual stream
    depth      residual blocks
    waves      random Fourier features of the point, sin(Bx) and cos(Bx), beside x itself; even, 0 for none.
               A plain MLP learns smooth functions first; with waves it learns a thin spiral soon (Tancik et al. 2020).
    bandwidth  how fine the waves are: the angles Bx have this standard deviation, in radians, whatever the size of
               the point, since B ~ N(0, bandwidth² / size) and x has unit variance
    embedding  width of the vector that the noise level and the conditions become
    """

    width: int = 64
    depth: int = 3
    waves: int = 32
    bandwidth: float = 1.5
    embedding: int = 64

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.embedding

    def __post_init__(self) -> None:
        if min(self.width, self.depth) < 1 or self.waves < 0 or self.waves % 2:
            raise UserError(f"an MLP needs a width and depth of at least 1 and an even count of waves, not {self}")

    def build(self, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> "ResidualMLP":
        """The module, for points of ``shape``; of words it reads the pooled vector. Raises UserError for any route but
        the vector."""
        routes.require_only("an MLP", pooled=True)
        return ResidualMLP(self, shape, routes, out_multiple)


class ResidualMLP(nn.Module):
    """(batch, *shape) -> (batch, out_multiple * shape[0], *shape[1:]); the contract is in ``undiffuse.net``."""

    frequencies: Tensor  # B, (waves / 2, size of the point)

    def __init__(self, design: MLP, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.out_shape = (out_multiple * self.shape[0], *self.shape[1:])
        size = math.prod(self.shape)
        self.register_buffer("frequencies", torch.randn(design.waves // 2, size) * (design.bandwidth / math.sqrt(size)))
        self.stem = nn.Linear(size + design.waves, design.width)
        self.blocks = nn.ModuleList(ModulatedLayer(design.width, routes.vector) for _ in range(design.depth))
        self.head = nn.Linear(design.width, math.prod(self.out_shape))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        """The prediction. Raises UserError for points of another shape."""
        if x.shape[1:] != self.shape:
            raise UserError(f"this network takes points of shape {self.shape}, not {tuple(x.shape[1:])}")
        flat = x.flatten(1)
        angles = F.linear(flat, self.frequencies)
        h = self.stem(torch.cat([flat, angles.sin(), angles.cos()], dim=-1))
        for block in self.blocks:
            h = block(h, routes.vector)
        return self.head(h).unflatten(1, self.out_shape).to(x.dtype)


class ModulatedLayer(nn.Module):
    """(batch, width) -> (batch, width): h + SiLU(scale * W h + shift), scale and shift from the vector."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.modulation = nn.Linear(embedding, 2 * width)

    def forward(self, h: Tensor, vector: Tensor) -> Tensor:
        """With the vector (batch, embedding), or (1, embedding) for all."""
        scale, shift = self.modulation(vector).chunk(2, dim=-1)
        y = self.linear(h)
        return h + F.silu(torch.addcmul(y + shift, y, scale))
