"""A residual MLP for rows of a table: numbers beside tokens, some of them given.

    net(x, given, tokens, routes) -> y (batch, numbers), logits (batch, tokens, classes)

A number is embedded by itself and its waves, a token by a vector for each of its classes and one for the mask; the
first layer is the sum of all. A number that is given without noise has weights of its own, because at high noise it has
all the information and the others have none.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.mlp import ModulatedLayer
from undiffuse.process.mixed import RowShape


@dataclass(frozen=True)
class TableMLP:
    """``depth`` blocks of ``width`` units; ``waves`` (even) of each number, ``embedding`` of the vector.

    The frequencies of the waves rise geometrically from a half to ``finest``, in radians per standard deviation: a
    value that one row in a hundred has is a few hundredths of a deviation wide, too narrow for coarse waves.
    """

    width: int = 256
    depth: int = 4
    waves: int = 16
    finest: float = 32.0
    embedding: int = 64

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.embedding

    def __post_init__(self) -> None:
        if min(self.width, self.depth) < 1 or self.waves < 0 or self.waves % 2 or self.finest <= 0:
            raise UserError(
                f"a table's MLP needs a width and depth of at least 1 and an even count of waves, not {self}"
            )

    def build(self, shape: RowShape, routes: Widths) -> "TableNet":
        """The module, for rows of this shape. Raises UserError for any route but the vector."""
        routes.require_only("a table's MLP")
        return TableNet(self, shape.numbers, shape.classes, routes)


class TableNet(nn.Module):
    """The contract is the file's first line; a class that a token does not have gets the logit -inf."""

    frequencies: Tensor  # (waves / 2,), radians per standard deviation
    starts: Tensor  # (tokens,), where each token's vectors begin in the table
    place: Tensor  # (tokens, most classes), where each logit lies in the head's output
    absent: Tensor  # (tokens, most classes) bool

    def __init__(self, design: TableMLP, numbers: int, classes: Sequence[int], routes: Widths) -> None:
        super().__init__()
        self.numbers, self.classes, most = numbers, tuple(classes), max(classes, default=1)
        sizes = torch.tensor([0, *classes], dtype=torch.int64)
        order = torch.arange(most).expand(len(classes), most)
        self.register_buffer("starts", (sizes + 1).cumsum(0)[:-1] - 1, persistent=False)
        self.register_buffer("absent", order >= sizes[1:, None], persistent=False)
        self.register_buffer(
            "place", (sizes.cumsum(0)[:-1, None] + order).clamp_max(sum(classes) - 1), persistent=False
        )
        frequencies = torch.logspace(math.log2(0.5), math.log2(design.finest), design.waves // 2, base=2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        with warnings.catch_warnings():  # without numbers the stem has only a bias, of which torch would warn
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.stem = nn.Linear(numbers * (3 + 2 * design.waves), design.width)
        self.table = nn.EmbeddingBag(max(1, sum(classes) + len(classes)), design.width, mode="sum")
        nn.init.normal_(self.table.weight, std=max(1, len(classes)) ** -0.5)
        self.blocks = nn.ModuleList(ModulatedLayer(design.width, routes.vector) for _ in range(design.depth))
        self.head = nn.Linear(design.width, numbers + sum(classes))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, given: Tensor, tokens: Tensor, routes: Routes) -> tuple[Tensor, Tensor]:
        """x (batch, numbers) of unit variance, given (batch, numbers) bool, tokens (batch, tokens) int64.

        The mask is the class after the most classes that any token has. The noise level is that of the numbers not
        given.
        """
        angles = x[..., None] * self.frequencies
        read = torch.cat([x[..., None], angles.sin(), angles.cos()], -1)
        clean = given[..., None].to(x.dtype)
        h = self.stem(torch.cat([clean, clean * read, (1 - clean) * read], -1).flatten(1))
        if self.classes:
            own = torch.tensor(self.classes, device=tokens.device)
            h = h + self.table(torch.minimum(tokens, own) + self.starts)
        for block in self.blocks:
            h = block(h, routes.vector)
        out = self.head(F.silu(h)).float()
        y, flat = out.split([self.numbers, out.shape[1] - self.numbers], 1)
        if not self.classes:
            return y, flat.new_zeros(len(x), 0, 1)
        return y, flat[:, self.place].masked_fill(self.absent, -torch.inf)
