"""Data that is there without any of one's own: drawn by a formula, or a set that everybody knows.

If a program can check the rows of a source, ``source.validity() -> (name, check)`` gives it; if the distribution is
known, ``source.entropy()`` is the entropy of a row in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor

from undiffuse.condition.text import TextEncoder, Transformer
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.digits import digits
from undiffuse.data.readers.letters import letters
from undiffuse.data.readers.text import Unit, shakespeare, text
from undiffuse.data.readers.well_known import known
from undiffuse.data.synthetic.heartbeat import heartbeat
from undiffuse.data.synthetic.keyboard import valid
from undiffuse.data.synthetic.piano import piano
from undiffuse.data.synthetic.pulse import pulses
from undiffuse.data.synthetic.shapes.shapes import Questions, Told, questions, shapes
from undiffuse.data.synthetic.toys import toy

Validity = tuple[str, Callable[[Tensor], Tensor]]  # a name, and a check (count, *shape) -> (count,) bool


@dataclass(frozen=True)
class Toy:
    """``count`` points of a toy, drawn by ``seed``; the test split is as many fresh ones.

    The set is fixed, not drawn anew in every step, so that a run's data can be looked at and compared with its samples.
    With 100,000 points this makes no difference to a network of this size.
    """

    name: str = "swiss-roll"
    count: int = 100_000
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The points. Raises UserError for an unknown toy."""
        return toy(self.name, self.count, self.seed, split)


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's handwritten digits, 8 x 8."""

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels."""
        return digits(split)


@dataclass(frozen=True)
class WellKnown:
    """A well-known data set, from ``path`` or a folder of data sets: mnist, fashion-mnist, cifar10."""

    formerly: ClassVar[str] = "Known"

    name: str = "mnist"
    path: str | None = None

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels. Raises UserError where they are not at hand."""
        return known(self.name, self.path, split)


@dataclass(frozen=True)
class Letters:
    """Handwritten letters, from ``path`` or a folder of data sets; ``copies`` of each, deformed by ``seed``."""

    path: str | None = None
    copies: int = 20
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The pictures and their labels. Raises UserError where they are not at hand."""
        return letters(self.path, self.copies, self.seed, split)


@dataclass(frozen=True)
class Piano:
    """``count`` pictures of keyboards, ``size`` (height, width), drawn by ``seed``, ``keys`` white keys across.

    A label is the first whole white key. The test split is as many fresh ones.
    """

    count: int = 20_000
    seed: int = 0
    size: tuple[int, int] = (24, 64)
    keys: float = 10.0

    def open(self, split: str = "train") -> Dataset:
        """The pictures. Raises UserError for pictures that are too few or too small."""
        return piano(self.count, self.seed, self.size, self.keys, split)

    def validity(self) -> Validity:
        """Whether a picture is a keyboard, exactly: groups of two and three black keys."""
        return "valid keyboards", valid


@runtime_checkable
class DrawnSource(Protocol):
    """A source whose data is drawn, so many rows as are wanted: a few to look at, without drawing them all."""

    @property
    def count(self) -> int:
        """How many rows a training has."""

    def few(self, count: int) -> "DrawnSource":
        """At most ``count`` rows, drawn alike."""

    def open(self, split: str = "train") -> Dataset:
        """The data."""


@dataclass(frozen=True)
class Shapes:
    """``count`` pictures of one to three shapes, ``size`` pixels a side, drawn by ``seed``, with ``captions`` each.

    ``text`` is what reads the captions; see `undiffuse.condition.text`. A model may be told labels instead of words:
    the attributes and the place of each thing. The test split is fresh scenes; some combinations of colour and shape
    are in neither.
    """

    count: int = 30_000
    size: int = 32
    seed: int = 0
    captions: int = 4
    told: Told = "words"
    text: TextEncoder = field(default_factory=Transformer)

    def open(self, split: str = "train") -> Dataset:
        """The pictures. Raises UserError for pictures that are too few or too small."""
        return shapes(self.count, self.size, self.seed, self.captions, self.told, self.text, split)

    def few(self, count: int) -> Self:
        """At most ``count`` pictures, drawn alike."""
        return replace(self, count=min(count, self.count))

    def questions(self) -> Questions:
        """Captions that were not trained on, and a checker that says which of their facts a picture shows."""
        return questions(self.count, self.size, self.seed, self.captions, self.told, self.text)


@dataclass(frozen=True)
class Shakespeare:
    """A million characters of Shakespeare's plays, from ``path`` or a folder of data sets; see `TextFile`."""

    path: str | None = None
    length: int = 128
    unit: Unit = "characters"

    def open(self, split: str = "train") -> Dataset:
        """The pieces. Raises UserError where the text is not at hand."""
        return text(shakespeare(self.path), self.length, self.unit, split=split)


@dataclass(frozen=True)
class Heartbeat:
    """``count`` sequences of ``length`` bits with a beat every ``period``, all phases equally often."""

    count: int = 10_000
    length: int = 20
    period: int = 5

    def open(self, split: str = "train") -> Dataset:
        """The sequences; the test split is the same ones."""
        return heartbeat(self.count, self.length, self.period)

    def entropy(self) -> float:
        """The entropy of a sequence in nats: all phases are equally likely."""
        return math.log(self.period)


@dataclass(frozen=True)
class Pulse:
    """``count`` series of a slow or fast heart, ``length`` values each, drawn by ``seed``."""

    count: int = 10_000
    length: int = 128
    seed: int = 0

    def open(self, split: str = "train") -> Dataset:
        """The series. Raises UserError for too few or too short ones."""
        return pulses(self.count, self.length, self.seed, split)
