"""The transformer of tokens: any sequence, or picture of tokens, at once (Austin et al. 2021; Sahoo et al. 2024)."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import zero
from undiffuse.net.transformer import Past, Sight, TransformerBlock, angles_along, angles_over, rotary
from undiffuse.process.categorical import TokenShape


@dataclass(frozen=True)
class TokenTransformer:
    """A transformer of tokens with self-attention.

    width      of each token's vector
    depth      blocks
    heads      of attention
    positions  rotary: relative positions, any length; learned: absolute positions, only the trained length
    time       whether it is given the noise level; for masked tokens it could count the masks instead
    block      tokens in a block, which sees itself and the blocks before it (block diffusion); none: one block is all
    readers    how many layers of a network of blocks are for clean tokens alone: see `ReaderWriter`
    causal     whether a token sees only those before it: not a denoiser, but a language model for comparison
    dropout    of what each block adds
    """

    width: int = 256
    depth: int = 6
    heads: int = 8
    positions: Literal["rotary", "learned"] = "rotary"
    time: bool = True
    block: int | None = None
    readers: int = 0
    causal: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads) < 1 or not 0 <= self.dropout < 1:
            raise UserError(f"a transformer needs width, depth and heads from 1, dropout in [0, 1), not {self}")
        if self.block is not None:
            self._check_blocks(self.block)
        if not 0 <= self.readers < self.depth or (self.readers and self.block is None):
            raise UserError(
                f"readers are some of the {self.depth} layers of a network of blocks, but not all, not {self.readers}; "
                "blocks are --net.block 4"
            )

    def _check_blocks(self, block: int) -> None:
        if block < 1:
            raise UserError(f"a block has at least 1 token, not {block}")
        if self.time or self.positions != "rotary" or self.causal:
            raise UserError("blocks have their own noise levels and go on: add --net.time false --net.positions rotary")

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.width

    def build(self, shape: TokenShape, states: int, routes: Widths) -> "TokenNet":
        """The module, of tokens with ``states`` states, of which the first ``shape.classes`` are the data's.

        Raises UserError for channels.
        """
        routes.require_only("a transformer of tokens", "tokens")
        if self.block is not None and (len(shape) != 1 or shape[0] % self.block):
            raise UserError(f"{' x '.join(map(str, shape))} tokens are no whole blocks of {self.block}")
        return (ReaderWriter if self.readers else TokenNet)(self, shape, states, routes)


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

    def forward(
        self, x_t: Tensor, routes: Routes, clean: Tensor | None = None, past: "Context | None" = None
    ) -> Tensor:
        """Logits. Raises UserError for another length than was learned.

        Of a network of blocks, a block sees those before it as they are in x_t; or in ``clean`` (batch, length), beside
        x_t in one pass; or in what was read before, ``past``.
        """
        tokens = x_t.flatten(1)
        h, turn = self._placed(self.embedding(tokens) * math.sqrt(self.design.width), x_t.shape[1:], past)
        seen, length = None, tokens.shape[1]
        if clean is not None:
            assert turn is not None  # positions are rotary
            h, turn = torch.cat([h, self.embedding(clean) * math.sqrt(self.design.width)], 1), turn.repeat(1, 2, 1)
        if self.design.block is not None:
            seen = seen_in_blocks(length, self.design.block, h.device, clean is not None, past.length if past else 0)
        for k, block in enumerate(self.blocks):
            h = block(h, routes, turn, Sight(seen, past.layers[k] if past else None))
        logits = self._logits(h[:, :length])
        return logits.unflatten(1, x_t.shape[1:]) if x_t.ndim != 2 else logits

    def read(self, tokens: Tensor, routes: Routes, past: "Context | None" = None) -> "Context":
        """What later blocks see of whole blocks of clean tokens (batch, length), after those of ``past``."""
        past = Context([Past() for _ in self.blocks], 0) if past is None else past
        for layer in past.layers:
            layer.open = True
        self(tokens, routes, past=past)
        for layer in past.layers:
            layer.open = False
        return past._replace(length=past.length + tokens.shape[1])

    def _logits(self, h: Tensor) -> Tensor:
        return self.mix(self.norm(h)) @ self.embedding.weight[: self.classes].T + self.bias

    def _placed(self, h: Tensor, shape: torch.Size, past: "Context | None") -> tuple[Tensor, Tensor | None]:
        """Tokens with their learned positions, or tokens and the rotation of queries and keys."""
        pairs = self.design.width // self.design.heads // 2
        if self.where is None and len(shape) == 2:
            return h, rotary(angles_over(shape[0], shape[1], pairs, device=h.device))
        if self.where is None:
            return h, rotary(angles_along(h.shape[1], pairs, device=h.device, first=past.length if past else 0))
        if h.shape[1] != len(self.where):
            raise UserError(
                f"learned positions are for {len(self.where)} tokens, not {h.shape[1]}; add --net.positions rotary"
            )
        return h + self.where, None


class ReaderWriter(TokenNet):
    """A network of blocks whose first layers read clean tokens alone; the others write (Arriola et al. 2025b, E2D2).

    The writing layers take noisy tokens, which see their block, and what was read of the blocks before it. So in
    a pass over noisy and clean tokens each of them goes through a part of the layers, not all, and a step of sampling
    takes only those that write.
    """

    def forward(
        self, x_t: Tensor, routes: Routes, clean: Tensor | None = None, past: "Context | None" = None
    ) -> Tensor:
        """As of `TokenNet`."""
        block, length = self.design.block or 1, x_t.shape[1]
        number = torch.arange(length, device=x_t.device) // block
        if past is None:
            past, first = self.read(x_t if clean is None else clean, routes), 0
            before = number[:, None] > number
        else:
            before, first = torch.ones(length, past.length, dtype=torch.bool, device=x_t.device), past.length
        seen = torch.cat([before, number[:, None] == number], 1)
        h, turn = self._embedded(x_t, first)
        for layer, kept in zip(self.blocks[self.design.readers :], past.layers[self.design.readers :], strict=True):
            h = layer(h, routes, turn, Sight(seen, kept))
        return self._logits(h)

    def read(self, tokens: Tensor, routes: Routes, past: "Context | None" = None) -> "Context":
        """As of `TokenNet`: by the layers that read, and what those that write attend to."""
        past = Context([Past() for _ in self.blocks], 0) if past is None else past
        seen = seen_in_blocks(tokens.shape[1], self.design.block or 1, tokens.device, past=past.length)
        h, turn = self._embedded(tokens, past.length)
        for k, (layer, kept) in enumerate(zip(self.blocks, past.layers, strict=True)):
            kept.open = True
            assert isinstance(layer, TransformerBlock)
            if k < self.design.readers:
                h = layer(h, routes, turn, Sight(seen, kept))
            else:
                kept.joined(*layer.keys(h, routes, turn))
            kept.open = False
        return past._replace(length=past.length + tokens.shape[1])

    def _embedded(self, tokens: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Tokens from place ``first`` on, and the rotation of their queries and keys."""
        pairs = self.design.width // self.design.heads // 2
        turn = rotary(angles_along(tokens.shape[1], pairs, device=tokens.device, first=first))
        return self.embedding(tokens) * math.sqrt(self.design.width), turn


class Context(NamedTuple):
    """What a network of blocks has read: the keys and values of each layer, of so many tokens."""

    layers: list[Past]
    length: int


def seen_in_blocks(length: int, block: int, device: torch.device, both: bool = False, past: int = 0) -> Tensor:
    """What each token sees, (tokens, tokens) bool (Arriola et al. 2025, section 3.1).

    Its own block, those before it, and ``past`` tokens before all. With ``both``, noisy tokens stand before as many
    clean ones: a noisy block sees itself, and the clean blocks before it; a clean block itself and those before it.
    """
    number = torch.arange(length, device=device) // block
    upto, before, own = (op(number[:, None], number) for op in (torch.ge, torch.gt, torch.eq))
    if both:
        return torch.cat([torch.cat([own, before], 1), torch.cat([torch.zeros_like(own), upto], 1)])
    return torch.cat([torch.ones(length, past, dtype=torch.bool, device=device), upto], 1)
