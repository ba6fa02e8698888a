"""The transformer of tokens: any sequence, or picture of tokens, at once (Austin et al. 2021; Sahoo et al. 2024)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import zero
from undiffuse.net.transformer import TransformerBlock, angles_along, angles_over, rotary
from undiffuse.process.categorical import TokenShape


@dataclass(frozen=True)
class TokenTransformer:
    """A transformer of tokens with self-attention.

    width      of each token's vector
    depth      blocks
    heads      of attention
    positions  rotary: relative positions, any length; learned: absolute positions, only the trained length
    time       whether it is given the noise level; for masked tokens it could count the masks instead
    causal     whether a token sees only those before it: not a denoiser, but a language model for comparison
    dropout    of what each block adds
    """

    width: int = 256
    depth: int = 6
    heads: int = 8
    positions: Literal["rotary", "learned"] = "rotary"
    time: bool = True
    causal: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads) < 1 or not 0 <= self.dropout < 1:
            raise UserError(f"a transformer needs width, depth and heads from 1, dropout in [0, 1), not {self}")

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.width

    def build(self, shape: TokenShape, states: int, routes: Widths) -> "TokenNet":
        """The module, of tokens with ``states`` states, of which the first ``shape.classes`` are the data's.

        Raises UserError for channels.
        """
        routes.require_only("a transformer of tokens", "tokens")
        return TokenNet(self, shape, states, routes)


class TokenNet(nn.Module):
    """(batch, *shape) int64 -> logits (batch, *shape, classes); the contract is in `undiffuse.denoiser.categorical`.

    The embedding of tokens and the output layer share their vectors. Logits start at zero.
    """

    def __init__(self, design: TokenTransformer, shape: TokenShape, states: int, routes: Widths) -> None:
        super().__init__()
        self.design, self.classes = design, shape.classes
        self.embedding = nn.Embedding(states, design.width)
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(design.width))
        learned = design.positions == "learned"
        self.where = nn.Parameter(torch.randn(math.prod(shape), design.width)) if learned else None
        self.blocks = nn.ModuleList(
            TransformerBlock(design.width, design.heads, routes, dropout=design.dropout, causal=design.causal)
            for _ in range(design.depth)
        )
        self.norm = nn.LayerNorm(design.width)
        self.mix = zero(nn.Linear(design.width, design.width))  # then against the embedding: 0 at the start
        self.bias = nn.Parameter(torch.zeros(shape.classes))

    def forward(self, x_t: Tensor, routes: Routes) -> Tensor:
        """Logits. Raises UserError for another length than was learned."""
        tokens = x_t.flatten(1)
        h, turn = self._placed(self.embedding(tokens) * math.sqrt(self.design.width), x_t.shape[1:])
        for block in self.blocks:
            h = block(h, routes, turn)
        logits = self.mix(self.norm(h)) @ self.embedding.weight[: self.classes].T + self.bias
        return logits.unflatten(1, x_t.shape[1:]) if x_t.ndim != 2 else logits

    def _placed(self, h: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor | None]:
        """Tokens with their learned positions, or tokens and the rotation of queries and keys."""
        pairs = self.design.width // self.design.heads // 2
        if self.where is None and len(shape) == 2:
            return h, rotary(angles_over(shape[0], shape[1], pairs, device=h.device))
        if self.where is None:
            return h, rotary(angles_along(h.shape[1], pairs, device=h.device))
        if h.shape[1] != len(self.where):
            raise UserError(
                f"learned positions are for {len(self.where)} tokens, not {h.shape[1]}; add --net.positions rotary"
            )
        return h + self.where, None
