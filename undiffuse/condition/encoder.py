"""The encoder of conditions: it gives a network the noise level and the conditions by three routes.

    encoder(log_snr, conditions) -> Routes

    vector     modulates layers: SiLU(W waves(log_snr) + the sum of the vectors of conditions)
    tokens     for cross-attention: those of all texts, one after the other
    channels   beside those of x: pictures, each with a channel that is 1 if the picture is present

No network knows what it is conditioned on: it has a route or lacks it. In sampling the noise level is one number for
the whole batch, which is embedded once and broadcast. An absent condition has a learned vector of its own, only the
token that every text begins with (`undiffuse.condition.text`), or channels of zeros. A condition that diffuses with x
is seen as noisy as the noise level says (`undiffuse.condition.diffused`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.diffused import at_level
from undiffuse.condition.frozen import FrozenEntry
from undiffuse.condition.low import speeds
from undiffuse.condition.picture import Picture
from undiffuse.condition.routes import Routes, Widths
from undiffuse.condition.specification import Labels, Numbers, Specification, Specifications, Text, Vector
from undiffuse.condition.text import Frozen, Lookup, LookupEntry, TextEncoder, Transformer, TransformerEntry
from undiffuse.condition.waves import Sinusoidal
from undiffuse.core.errors import UserError
from undiffuse.core.last import Last

REACH = 20.0  # standard deviations: the longest period of a numeric condition's waves


class Encoder(nn.Module):
    """The conditions of ``specifications`` and the noise level as `Routes`.

    Args:
        specifications: The conditions of the model.
        width: Of the vector and of each token.
        level: Whether the network is given the noise level. If not, it is 0 at every time, and without a condition that
            modulates there is no vector.
        second: Whether it is given a second noise level, where a jump along the flow ends; at first it changes nothing.
    """

    def __init__(self, specifications: Specifications, width: int, level: bool = True, second: bool = False) -> None:
        super().__init__()
        self.names, self.reads_level, self.width = tuple(specifications), level, width
        self.speeds = speeds(specifications)
        entries: list[Any] = [ENTRIES[type(one)](one, width) for one in specifications.values()]
        self._routes: list[tuple[str, ...]] = [entry.routes for entry in entries]
        self.entries = nn.ModuleList(entries)
        modulates = level or any("vector" in routes for routes in self._routes)
        self.level = nn.Sequential(Sinusoidal(width), nn.Linear(width, width)) if modulates else None
        self.second = nn.Sequential(Sinusoidal(width), _zero(nn.Linear(width, width))) if second else None
        self._last: Last[list[Routes]] = Last()

    @property
    def widths(self) -> Widths:
        """What a network for these routes is built for."""
        names = {
            route: tuple(name for name, taken in zip(self.names, self._routes, strict=True) if route in taken)
            for route in ("tokens", "channels")
        }
        channels = sum(entry.channels for entry in self.entries if isinstance(entry, PictureEntry))
        pooled = all("vector" in routes for routes in self._routes if "tokens" in routes)
        return Widths(self.width if self.level else 0, self.width if names["tokens"] else 0, channels, names, pooled)

    def forward(self, log_snr: Tensor, conditions: Conditions | None = None, second: Tensor | None = None) -> Routes:
        """The routes at log_snr () or (batch,), and at a ``second`` log-SNR; without ``conditions`` all are absent.

        Raises UserError for a condition that the model was trained without.
        """
        given: Mapping[str, Entry] = {} if conditions is None else conditions.entries
        if len(given) > len(self.names) or any(name not in self.names for name in given):
            self._refuse(given)
        if moving := {name: at_level(given[name], self.speeds[name], log_snr) for name in self.speeds if name in given}:
            given = {**given, **moving}
        made = self._made(given, log_snr.device.type)
        vectors, *parts = [[own for own in route if own is not None] for route in zip(Routes(), *made, strict=True)]
        if self.second is not None and second is not None:
            vectors.append(self.second(second.reshape(-1)))
        vector = None if self.level is None else self._vector(log_snr, vectors)
        return Routes(vector, *map(_beside, parts))

    def _made(self, given: Mapping[str, Entry], device: str) -> list[Routes]:
        """The routes of each condition; once for all steps of a sampling, in which neither they nor weights change."""

        def made() -> list[Routes]:
            return [entry(given.get(name)) for name, entry in zip(self.names, self.entries, strict=True)]

        if self.training or torch.is_grad_enabled():
            return made()
        asked = (part for name in self.names for part in given.get(name, (None, None)))
        return self._last.about((torch.is_autocast_enabled(device), *asked, *self.entries.parameters()), made)

    def _vector(self, log_snr: Tensor, conditions: list[Tensor]) -> Tensor:
        assert self.level is not None
        level = self.level((log_snr if self.reads_level else torch.zeros_like(log_snr)).reshape(-1))
        return F.silu(level + _sum(conditions) if conditions else level)

    def _refuse(self, given: Mapping[str, Entry]) -> None:
        unknown = next(name for name in given if name not in self.names)
        known = f"known: {', '.join(self.names)}" if self.names else f"leave {unknown} out"
        raise UserError(f"this model was trained without the condition {unknown!r}; {known}")


def level_alone(log_snr: Tensor, conditions: Conditions | None = None) -> Routes:
    """The noise level, () or (batch,), unchanged, as the vector: for a network that needs no embedding and no
    conditions."""
    return Routes(log_snr)


class LabelsEntry(nn.Module):
    """A learned vector for each name, and one for none."""

    routes = ("vector",)

    def __init__(self, of: Labels, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(len(of.names) + 1, width)  # the first is for none

    def forward(self, entry: Entry | None) -> Routes:
        """A vector (batch, width); (1, width) where there is no entry."""
        if entry is None:
            return Routes(self.table.weight[:1])
        return Routes(self.table((entry.values + 1).masked_fill(~entry.present, 0)))


class NumbersEntry(nn.Module):
    """Each number and its waves, through one linear layer; a learned vector where the numbers are absent."""

    routes = ("vector",)

    def __init__(self, of: Numbers, width: int) -> None:
        super().__init__()
        self.waves = Sinusoidal(width, longest=REACH, shortest=REACH / 40)
        self.linear = nn.Linear(len(of.columns) * (width + 1), width)
        self.absent = nn.Parameter(torch.randn(1, width))

    def forward(self, entry: Entry | None) -> Routes:
        """A vector (batch, width); (1, width) where there is no entry."""
        if entry is None:
            return Routes(self.absent)
        read = torch.cat([entry.values[..., None], self.waves(entry.values)], -1).flatten(1)
        return Routes(torch.where(entry.present[:, None], self.linear(read), self.absent))


class VectorEntry(nn.Module):
    """One linear layer; a learned vector where it is absent."""

    routes = ("vector",)

    def __init__(self, of: Vector, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(of.width, width)
        self.absent = nn.Parameter(torch.randn(1, width))

    def forward(self, entry: Entry | None) -> Routes:
        """A vector (batch, width); (1, width) where there is no entry."""
        if entry is None:
            return Routes(self.absent)
        return Routes(torch.where(entry.present[:, None], self.linear(entry.values), self.absent))


class PictureEntry(nn.Module):
    """The picture's channels and a channel of ones; all are zero where the picture is absent."""

    routes = ("channels",)
    blank: Tensor  # (1, channels, height, width)

    def __init__(self, of: Picture, width: int) -> None:
        super().__init__()
        self.size, self.channels = of.size, of.channels + 1
        self.register_buffer("blank", torch.zeros(1, self.channels, *of.size[1:]), persistent=False)

    def forward(self, entry: Entry | None) -> Routes:
        """Channels (batch, 1 + channels, height, width); (1, ...) where there is no entry."""
        if entry is None:
            return Routes(channels=self.blank)
        there = entry.present.to(entry.values).view(-1, 1, 1, 1)
        shown = entry.values.masked_fill(~entry.present.view(-1, 1, 1, 1), 0.0)
        return Routes(channels=torch.cat([shown, there.expand(-1, 1, *self.size[1:])], 1))


def text_entry(of: Text, width: int) -> nn.Module:
    """The module of a text, by its encoder."""
    return TEXT_ENTRIES[type(of.encoder)](of.encoder, of.length, of.vocabulary, width)


ENTRIES: dict[type[Specification], Callable[[Any, int], nn.Module]] = {
    Labels: LabelsEntry,
    Numbers: NumbersEntry,
    Vector: VectorEntry,
    Text: text_entry,
    Picture: PictureEntry,
}
TEXT_ENTRIES: dict[type[TextEncoder], Callable[[Any, int, int, int], nn.Module]] = {
    Lookup: LookupEntry,
    Transformer: TransformerEntry,
    Frozen: FrozenEntry,
}


def _zero(layer: nn.Linear) -> nn.Linear:
    """A layer that says nothing before it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _sum(vectors: list[Tensor]) -> Tensor:
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total


def _beside(parts: list[Tensor]) -> Tensor | None:
    """Joined along the second axis, broadcast to as many rows; pictures are scaled to the largest height and width."""
    if len(parts) < 2:
        return parts[0] if parts else None
    count = max(part.shape[0] for part in parts)
    if parts[0].ndim == 4:
        size = [max(part.shape[axis] for part in parts) for axis in (2, 3)]
        parts = [scaled(part, size) for part in parts]
    return torch.cat([part.expand(count, *part.shape[1:]) for part in parts], 1)


def scaled(pictures: Tensor, size: list[int] | torch.Size) -> Tensor:
    """Pictures (batch, channels, height, width) at another height and width, by bilinear interpolation."""
    if list(pictures.shape[2:]) == list(size):
        return pictures
    return F.interpolate(pictures, size=list(size), mode="bilinear", align_corners=False)
