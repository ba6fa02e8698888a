"""The three routes by which a network is given conditions: a vector, tokens and channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from undiffuse.core.errors import UserError


class Routes(NamedTuple):
    """What a network is given; None is a route without conditions. The first axis is 1 if the batch shares it."""

    vector: Tensor | None = None  # (batch or 1, width)
    tokens: Tensor | None = None  # (batch or 1, count, width)
    tokens_present: Tensor | None = None  # (batch or 1, count) bool, in each row at least one
    channels: Tensor | None = None  # (batch or 1, channels, height, width), of any height and width


@dataclass(frozen=True)
class Widths:
    """The width of each route, 0 for one without conditions: a network is built for these.

    ``names`` are the conditions that need tokens and channels, for messages. ``pooled`` says whether all that give
    tokens give a vector too, so that a network may do without the tokens.
    """

    vector: int = 0
    tokens: int = 0
    channels: int = 0
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pooled: bool = False

    def require_only(self, network: str, *routes: str, pooled: bool = False) -> None:
        """Raises UserError, naming the condition, if one needs a route that the ``network`` lacks; if ``pooled``, the
        network reads words by their vector."""
        enough = ("tokens",) if pooled and self.pooled else ()
        for route in ("tokens", "channels"):
            if getattr(self, route) and route not in (*routes, *enough):
                conditions = ", ".join(map(repr, self.names.get(route, ()))) or "a condition"
                takes = {"tokens": "a unet or dit, with attention,", "channels": "a unet, folded or dit"}[route]
                raise UserError(f"{network} takes no {route}, which {conditions} needs; choose {takes} for --net")
