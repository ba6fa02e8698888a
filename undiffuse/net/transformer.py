"""The transformer block: self-attention of places, and cross-attention to the tokens of conditions.

    h <- h + gate_1 attention(scale_1 norm(h) + shift_1)
    h <- h + cross-attention(norm(h), tokens)
    h <- h + gate_2 dense(scale_2 norm(h) + shift_2)              scale, shift, gate = linear(vector)

With adaLN-Zero (Peebles and Xie 2023, section 3.2) that linear layer starts at zero, and so do the gates: every block
starts as the identity. Without a vector (a network that is not given the noise level) there is no modulation.
Shared by the diffusion transformer of pictures (`dit`) and that of tokens (`token_transformer`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.blocks import zero

FEW = 512  # places


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention if there are tokens, then two dense layers."""

    def __init__(
        self,
        width: int,
        heads: int,
        routes: Widths,
        qk_norm: bool = True,
        ratio: float = 4.0,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        learns = routes.vector == 0
        self.norm_1, self.norm_2 = (nn.LayerNorm(width, elementwise_affine=learns) for _ in range(2))
        self.attention = Attention(width, heads, qk_norm, causal)
        self.dense = nn.Sequential(
            nn.Linear(width, round(ratio * width)), nn.GELU("tanh"), nn.Linear(round(ratio * width), width)
        )
        self.dropout = nn.Dropout(dropout)
        self.modulation = zero(nn.Linear(routes.vector, 6 * width)) if routes.vector else None
        self.across = CrossAttention(width, heads, routes.tokens) if routes.tokens else None

    def forward(self, h: Tensor, routes: Routes, turn: Tensor | None = None, sight: "Sight | None" = None) -> Tensor:
        """h (batch, places, width); turn, see `rotary`; what they see, if not all of each other."""
        if self.modulation is None:
            h = h + self.dropout(self.attention(self.norm_1(h), turn, sight))
            h = self.across(h, routes) if self.across else h
            return h + self.dropout(self.dense(self.norm_2(h)))
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(routes.vector)[:, None].chunk(6, dim=-1)
        modulated = torch.addcmul(shift_1, self.norm_1(h), 1 + scale_1)
        h = torch.addcmul(h, gate_1, self.dropout(self.attention(modulated, turn, sight)))
        h = self.across(h, routes) if self.across else h
        modulated = torch.addcmul(shift_2, self.norm_2(h), 1 + scale_2)
        return torch.addcmul(h, gate_2, self.dropout(self.dense(modulated)))

    def keys(self, h: Tensor, routes: Routes, turn: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The keys and values of places h, for others to attend to: (batch, heads, places, d) each."""
        normal = self.norm_1(h)
        if self.modulation is not None:
            shift, scale = self.modulation(routes.vector)[:, None].chunk(6, dim=-1)[:2]
            normal = torch.addcmul(shift, normal, 1 + scale)
        return self.attention.keys(normal, turn)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v in ``heads``, with queries and keys of unit length (qk_norm) and rotated (`rotary`).

    If they are not rotated, h must contain the positions. With ``causal`` a place does not see those after it.
    """

    def __init__(self, width: int, heads: int, qk_norm: bool = True, causal: bool = False) -> None:
        super().__init__()
        if heads < 1 or width % heads or (width // heads) % 4:
            raise UserError(f"a transformer's width must split into heads of a multiple of 4, not {width} into {heads}")
        self.heads, self.causal = heads, causal
        self.query_key_value = nn.Linear(width, 3 * width)
        self.norm_q, self.norm_k = (UnitLength(width // heads) if qk_norm else nn.Identity() for _ in range(2))
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, turn: Tensor | None = None, sight: "Sight | None" = None) -> Tensor:
        """(batch, places, width) -> the same; turn (2, places, width / heads)."""
        split = self.query_key_value(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = self.norm_q(split[0]), self.norm_k(split[1]), split[2]
        if turn is not None:
            query, key = rotated(query, turn), rotated(key, turn)
        query, key = query.to(value.dtype), key.to(value.dtype)
        if sight is not None and sight.past is not None:
            key, value = sight.past.joined(key, value)
        read = attend(query, key, value, self.causal, None if sight is None else sight.seen)
        return self.out(read.transpose(1, 2).flatten(2))

    def keys(self, h: Tensor, turn: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The keys and values of places h (batch, places, width): (batch, heads, places, d) each."""
        both, width = self.query_key_value, h.shape[-1]
        split = F.linear(h, both.weight[width:], both.bias[width:]).unflatten(-1, (2, self.heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4)
        key = self.norm_k(key)
        return (key if turn is None else rotated(key, turn)).to(value.dtype), value


class Past:
    """The keys and values of places before, in one layer; of what is read while it is ``open``, they are kept."""

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None
        self.open = True

    def joined(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Those of before and these, (batch, heads, places, d)."""
        if self.key is not None and self.value is not None:
            key, value = (
                torch.cat([old.expand(len(new), -1, -1, -1), new], 2)
                for old, new in ((self.key, key), (self.value, value))
            )
        if self.open:
            self.key, self.value = key, value
        return key, value


class Sight(NamedTuple):
    """What places attend to, in one layer."""

    seen: Tensor | None = None  # (places, places before and these) bool; None is all
    past: Past | None = None  # places before


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool = False, seen: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of (batch, heads, places, d): fused, or by plain products if they are faster.

    With ``seen`` (places, places of keys) bool, each place attends to what it sees alone. Plain products are faster on
    a CPU, in half precision and for few places: 4 times, forward and backward, for 128 places.
    """
    places = query.shape[2]
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or places > FEW:
        return F.scaled_dot_product_attention(query, key, value, seen, is_causal=causal)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    seen = torch.ones(places, places, dtype=torch.bool).tril() if causal else seen
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ value


class UnitLength(nn.RMSNorm):
    """x / rms(x) times a learned weight, in the precision of x; torch's own falls back under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class CrossAttention(nn.Module):
    """Cross-attention of places to tokens of conditions, such as words, added to h; zero at the start."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(tokens, 2 * width)
        self.out = zero(nn.Linear(width, width))

    def forward(self, h: Tensor, routes: Routes) -> Tensor:
        """h (batch, places, width); only tokens that are present are attended to."""
        assert routes.tokens is not None and routes.tokens_present is not None  # it was built for tokens
        query = self.query(self.norm(h)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        read = self.key_value(routes.tokens).expand(h.shape[0], -1, -1)
        key, value = read.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = routes.tokens_present[:, None, None].expand(h.shape[0], 1, query.shape[2], -1)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return h + self.out(read.transpose(1, 2).flatten(2))


def rotary(angles: Tensor) -> Tensor:
    """The rotation of queries and keys by angles (places, d / 2), in radians: cosines and signed sines, (2, places, d).

    Turning pair i of query and key at place p by the angle p f_i makes their product depend on the distance of places
    alone (Su et al. 2021). Once a network, for all of its blocks.
    """
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([torch.cat([cosine, cosine], -1), torch.cat([-sine, sine], -1)])


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """x (batch, heads, places, d), of which entries i and i + d/2 are a pair, rotated by the result of `rotary`."""
    cosine, sine = turn.to(x)
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


def angles_along(
    count: int, pairs: int, base: float = 10_000.0, device: torch.device | None = None, first: int = 0
) -> Tensor:
    """p f_i for ``count`` places p from ``first`` on, and f_i = base^(-i/pairs): (count, pairs)."""
    places, i = (torch.arange(n, device=device) for n in (count, pairs))
    return (places + first)[:, None] * base ** (-i / pairs)


def angles_over(height: int, width: int, pairs: int, base: float = 100.0, device: torch.device | None = None) -> Tensor:
    """Angles by the row for half of the pairs, and by the column for the others: (height * width, pairs)."""
    down = angles_along(height, pairs // 2, base, device)[:, None].expand(-1, width, -1)
    across = angles_along(width, pairs - pairs // 2, base, device)[None].expand(height, -1, -1)
    return torch.cat([down, across], dim=-1).flatten(0, 1)
