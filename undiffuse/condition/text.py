"""Text encoders: from the token ids of a text to vectors for cross-attention, and to one pooled vector.

    Lookup()         a learned vector for each token and each place
    Transformer()    the same, read by a small transformer that is trained along; its mean is the pooled vector
    Frozen("clip")   somebody else's encoder, which does not learn; see `undiffuse.condition.frozen`

Before each text comes one token that is always present; an absent text has only that token, since attention to no token
at all would be undefined. After Saharia et al. 2022 (Imagen), section 2.1 and appendix B: cross-attention to the
sequence, and its mean added to the embedding of the noise level.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Entry
from undiffuse.condition.routes import Routes
from undiffuse.core.errors import UserError

RATIO = 4  # of the hidden layer of a block


@dataclass(frozen=True)
class Lookup:
    """A learned vector for each token and each place."""


@dataclass(frozen=True)
class Transformer:
    """A transformer that is trained along: blocks of self-attention, of which each has so many heads."""

    depth: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        if min(self.depth, self.heads) < 1:
            raise UserError(f"a text's transformer needs depth and heads from 1, not {self.depth} and {self.heads}")


@dataclass(frozen=True)
class Frozen:
    """The text encoder in a folder that transformers' ``save_pretrained`` wrote (CLIP's, T5's or BERT's kind), or
    ``minilm``. It is computed once for each distinct text."""

    path: str = "minilm"


TextEncoder = Lookup | Transformer | Frozen


class LookupEntry(nn.Module):
    """(batch, length) ids as one more token each, without a pooled vector."""

    routes: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(self, of: TextEncoder, length: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.table = nn.Embedding(vocabulary + 1, width)
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.absent = nn.Parameter(torch.randn(1, 1, width))

    def forward(self, entry: Entry | None) -> Routes:
        """Tokens (batch, 1 + length, width); (1, 1, width) without an entry."""
        always = torch.ones(1, 1, dtype=torch.bool, device=self.absent.device)
        if entry is None:
            return Routes(tokens=self.absent, tokens_present=always)
        count = entry.values.shape[0]
        tokens = torch.cat([self.absent.expand(count, -1, -1), self.table(entry.values) + self.place], 1)
        there = (entry.values < self.vocabulary) & entry.present[:, None]
        return Routes(tokens=tokens, tokens_present=torch.cat([always.expand(count, -1), there], 1))


class TransformerEntry(LookupEntry):
    """The same, read by a transformer; its mean over the tokens that are present is the pooled vector."""

    routes = ("tokens", "vector")

    def __init__(self, of: Transformer, length: int, vocabulary: int, width: int) -> None:
        super().__init__(of, length, vocabulary, width)
        if width % of.heads:
            raise UserError(f"a text's vectors of width {width} do not split into {of.heads} heads; change text.heads")
        block = nn.TransformerEncoderLayer(
            width, of.heads, RATIO * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, of.depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.pooled = nn.Linear(width, width)

    def forward(self, entry: Entry | None) -> Routes:
        """Tokens, and a vector (batch, width)."""
        said = super().forward(entry)
        assert said.tokens is not None and said.tokens_present is not None
        read = self.blocks(said.tokens, src_key_padding_mask=~said.tokens_present)
        return Routes(self.pooled(mean(read, said.tokens_present)), read, said.tokens_present)


def mean(tokens: Tensor, present: Tensor) -> Tensor:
    """The mean of the tokens (batch, count, width) that are present, (batch, width)."""
    weight = present.to(tokens.dtype)[..., None]
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
