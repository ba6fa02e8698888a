"""What is told of the rows that are to be drawn, as the data is stored: some of their entries, here.

Other things that may be told, and other ways to complete what is known, are in `undiffuse.run.inverse`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from undiffuse.codec import Codec
from undiffuse.codec.codec import Entries
from undiffuse.core.noise import Noise
from undiffuse.denoiser.guidance import Conditional
from undiffuse.denoiser.known import Known
from undiffuse.process import Process
from undiffuse.step import Step


class Drawing(NamedTuple):
    """How samples are drawn."""

    process: Process
    codec: Codec
    step: Step
    denoise: Conditional
    noise: Noise
    device: torch.device
    first: Callable[[Tensor], Tensor] = lambda x: x  # makes the first state of one that knows of nothing


class Told(Protocol):
    """What is told of samples beside their conditions; sample i is told row i modulo their count."""

    @property
    def x(self) -> Tensor:
        """What is told, (rows, ...)."""
        ...

    def take(self, rows: range) -> Self:
        """What the samples numbered ``rows`` are told."""
        ...

    def heeded(self, drawing: Drawing) -> Drawing:
        """Drawing that heeds it."""
        ...

    def put_back(self, x: Tensor) -> Tensor:
        """Samples x (rows, *shape) with what is known exactly."""
        ...

    def evaluations(self, count: int) -> int:
        """How many evaluations of the network are made for ``count``."""
        ...


class Completion(Protocol):
    """How known entries are completed."""

    def completing(self, drawing: Drawing, entries: Entries) -> Drawing:
        """Drawing that completes them."""
        ...

    def evaluations(self, count: int) -> int:
        """How many evaluations of the network are made for ``count``."""
        ...


@dataclass(frozen=True)
class Replacement:
    """The denoiser's belief is replaced where it is known (`undiffuse.denoiser.known`): for every kind of data."""

    def completing(self, drawing: Drawing, entries: Entries) -> Drawing:
        """By a guide."""
        process = drawing.process
        return drawing._replace(
            denoise=Known(drawing.denoise, process, *entries),
            first=lambda x: process.reveal(x, entries.x_0, entries.known),
        )

    def evaluations(self, count: int) -> int:
        """No more."""
        return count


class Given(NamedTuple):
    """Rows in which some entries are known; sample i completes row i modulo their count.

    Attributes:
        x: (rows, *shape); unknown entries may hold any value.
        known: (rows, *shape) bool.
        complete: Whether every drawn cell must hold a value; in a table, none may be missing.
        by: How they are completed.
    """

    x: Tensor
    known: Tensor
    complete: bool = False
    by: Completion = Replacement()

    @classmethod
    def missing(cls, x: Tensor, complete: bool = False) -> Self:
        """Rows (rows, *shape) of numbers; every entry that is not NaN is known."""
        return cls(x, ~x.isnan(), complete)

    def take(self, rows: range) -> "Given":
        """The rows of the samples numbered ``rows``."""
        chosen = torch.arange(rows.start, rows.stop) % len(self.x)
        return self._replace(x=self.x[chosen], known=self.known[chosen])

    def heeded(self, drawing: Drawing) -> Drawing:
        """Drawing that completes the rows."""
        x, known = self.x.to(drawing.device), self.known.to(drawing.device)
        return self.by.completing(drawing, drawing.codec.entries(x, known, drawing.noise, self.complete))

    def put_back(self, x: Tensor) -> Tensor:
        """Samples x (rows, *shape) with their known entries put back exactly."""
        return torch.where(self.known, self.x.to(x.dtype), x)

    def evaluations(self, count: int) -> int:
        """Those of the completion."""
        return self.by.evaluations(count)
