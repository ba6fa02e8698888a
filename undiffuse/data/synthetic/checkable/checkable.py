"""What such texts have in common: a program draws them evenly, counts them, checks them, and says what cannot be one.

    Brackets(length=24).fault("([)]...")             "") closes ["
    Sudoku(side=4).completable("11__")               False

So three things are exact: the share of samples that are valid, the entropy, which the bound of an exact denoiser meets,
and whether a prompt can be completed at all.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.memory import require
from undiffuse.data.alphabet import Characters
from undiffuse.data.dataset import Dataset, check_split

HOLE = "_"  # any symbol
TWO = 2  # rows that a data set needs


class Checkable(ABC):
    """A source of texts of one length, all equally likely; ``count`` of them, drawn by ``seed``.

    Attributes:
        items: What its texts are called.
    """

    items: ClassVar[str]
    count: int
    seed: int

    @property
    @abstractmethod
    def symbols(self) -> tuple[str, ...]:
        """The symbols of a text, in the order of their tokens."""

    @abstractmethod
    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Valid texts as tokens (count, length), uniform over all of them."""

    @abstractmethod
    def fault(self, text: str) -> str:
        """Why a text is not valid, in words; empty for a valid one."""

    @abstractmethod
    def completable(self, text: str) -> bool:
        """Whether a valid text agrees with this one, which has a `HOLE` for each unknown symbol."""

    @abstractmethod
    def entropy(self) -> float:
        """The logarithm of how many valid texts there are."""

    @property
    def alphabet(self) -> Characters:
        """Of its symbols."""
        return Characters(self.symbols)

    def open(self, split: str = "train") -> Dataset:
        """The texts; the test split is as many, drawn anew. Raises UserError for fewer than two."""
        check_split(split)
        if self.count < TWO:
            raise UserError(f"at least {TWO} {self.items} make a data set, not {self.count}")
        require(24 * self.count * len(self.symbols), f"{self.count:,} {self.items}")
        generator = torch.Generator().manual_seed(2 * self.seed + (split == "test"))
        x = self.drawn(self.count, generator).to(torch.uint8)
        return Dataset(x, kind="text", alphabet=self.alphabet, name=self.items)
