"""Where data comes from, as plain values that a recipe can write down: ``source.open(split) -> Dataset``.

A source whose rows a program can check says how: ``source.validity() -> (name, check)``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from undiffuse.data.dataset import Dataset
from undiffuse.data.digits import digits
from undiffuse.data.keyboard import valid
from undiffuse.data.open import open_data
from undiffuse.data.piano import piano
from undiffuse.data.toys import toy

Validity = tuple[str, Callable[[Tensor], Tensor]]  # a name, and (count, *shape) -> (count,) bool: is it one?


@dataclass(frozen=True)
class Toy:
    """``count`` points of a toy, drawn by ``seed``; the test split is as many fresh ones.

    A fixed set, not fresh points every step: at 100,000 points a network of this size cannot tell the difference, and
    a run's data can be looked at, measured and held against its samples.
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


@dataclass(frozen=True)
class Files:
    """A file or folder of your own, as `open_data` reads it; ``size`` is for folders of pictures."""

    path: str
    size: int | tuple[int, int] | None = None
    skip_unreadable: bool = False

    def open(self, split: str = "train") -> Dataset:
        """The data. Raises UserError where it is gone or not understood."""
        return open_data(self.path, self.size, split, self.skip_unreadable)


Source = Toy | Digits | Piano | Files
