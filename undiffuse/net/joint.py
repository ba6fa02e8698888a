"""Joint attention: places and words attend to each other as one sequence, each with weights of their own (MM-DiT).

    [h, w] <- [h, w] + gate_1 attention([scale_1 norm(h) + shift_1, scale_1' norm(w) + shift_1'])
    [h, w] <- [h, w] + gate_2 dense(scale_2 norm + shift_2)              scale, shift, gate = linear(vector)

With cross-attention words stay what the text encoder said; here they are read anew in every block, in the light of the
picture. Only places are rotated: words have their positions from the encoder. After Esser et al. 2024, section 4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import zero
from undiffuse.net.transformer import UnitLength, rotated


class JointBlocks(nn.Module):
    """Blocks of joint attention; what has become of the words is dropped in the end."""

    def __init__(self, depth: int, width: int, heads: int, routes: Widths, qk_norm: bool, dropout: float) -> None:
        super().__init__()
        if width % heads or (width // heads) % 4:
            raise UserError(f"a transformer's width must split into heads of a multiple of 4, not {width} into {heads}")
        self.words = nn.Linear(routes.tokens, width)
        self.blocks = nn.ModuleList(JointBlock(width, heads, routes.vector, qk_norm, dropout) for _ in range(depth))

    def forward(self, h: Tensor, routes: Routes, turn: Tensor | None = None) -> Tensor:
        """h (batch, places, width); turn, see `rotary`."""
        assert routes.tokens is not None and routes.tokens_present is not None  # it was built for tokens
        words = self.words(routes.tokens).expand(h.shape[0], -1, -1)
        there = routes.tokens_present.expand(h.shape[0], -1)
        seen = torch.cat([there.new_ones(h.shape[:2]), there], 1)[:, None, None]
        for block in self.blocks:
            h, words = block(h, words, routes.vector, seen, turn)
        return h


class JointBlock(nn.Module):
    """(places, words) -> (places, words), with joint attention and dense layers of their own."""

    def __init__(self, width: int, heads: int, vector: int, qk_norm: bool, dropout: float) -> None:
        super().__init__()
        self.places, self.words = (JointStream(width, heads, vector, qk_norm, dropout) for _ in range(2))

    def forward(
        self, h: Tensor, words: Tensor, vector: Tensor, seen: Tensor, turn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """h (batch, places, width), words (batch, count, width); seen (batch, 1, 1, places + count) bool."""
        told = [stream.told(vector) for stream in (self.places, self.words)]
        own, others = self.places.ask(h, told[0], turn), self.words.ask(words, told[1], None)
        query, key, value = (torch.cat(pair, 2) for pair in zip(own, others, strict=True))
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).flatten(2)
        of_places, of_words = read.split([h.shape[1], words.shape[1]], 1)
        return self.places.answer(h, of_places, told[0]), self.words.answer(words, of_words, told[1])


class JointStream(nn.Module):
    """The layers of one of the two: what it asks of the others, and what it makes of the answer; adaLN-Zero."""

    def __init__(self, width: int, heads: int, vector: int, qk_norm: bool, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zero(nn.Linear(vector, 6 * width))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.norm_q, self.norm_k = (UnitLength(width // heads) if qk_norm else nn.Identity() for _ in range(2))
        self.out = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def told(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale and gate of the attention, and of the dense layers: (batch or 1, 1, width) each."""
        return self.modulation(vector)[:, None].chunk(6, dim=-1)

    def ask(self, h: Tensor, told: tuple[Tensor, ...], turn: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (batch, heads, count, width / heads)."""
        modulated = torch.addcmul(told[0], self.norm(h), 1 + told[1])
        query, key, value = self.query_key_value(modulated).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = self.norm_q(query), self.norm_k(key)
        if turn is not None:
            query, key = rotated(query, turn), rotated(key, turn)
        return query.to(value.dtype), key.to(value.dtype), value

    def answer(self, h: Tensor, read: Tensor, told: tuple[Tensor, ...]) -> Tensor:
        """h with what was read added, and then what the dense layers make of it."""
        h = torch.addcmul(h, told[2], self.dropout(self.out(read)))
        modulated = torch.addcmul(told[3], self.norm(h), 1 + told[4])
        return torch.addcmul(h, told[5], self.dropout(self.dense(modulated)))
