"""Brackets of several kinds, each closed by its own, nested: the language of Dyck."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.checkable.checkable import HOLE, Checkable

PAIRS = ("()", "[]", "{}", "<>")


@dataclass(frozen=True)
class Brackets(Checkable):
    """``count`` texts of ``length`` brackets of so many ``kinds``, drawn by ``seed``; all are equally likely."""

    items: ClassVar[str] = "brackets"

    count: int = 20_000
    length: int = 24
    kinds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < 2 or self.length % 2 or not 1 <= self.kinds <= len(PAIRS):
            raise UserError(
                f"brackets have an even length from 2 and 1 to {len(PAIRS)} kinds, not length {self.length}, "
                f"kinds {self.kinds}"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Token 2k opens what token 2k + 1 closes."""
        return tuple(sorted("".join(PAIRS[: self.kinds])))

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """With n symbols left and h brackets open, (h + 2)(n - h) / (2 n (h + 1)) of the ways open one more."""
        rows, height = torch.arange(count), torch.zeros(count, dtype=torch.long)
        stack = torch.zeros(count, self.length + 1, dtype=torch.long)  # the kinds that are open
        text = torch.zeros(count, self.length, dtype=torch.long)
        for place in range(self.length):
            left = self.length - place
            opening = (height + 2) * (left - height) / (2 * left * (height + 1))
            opens = torch.rand(count, generator=generator) < opening
            kind = torch.randint(self.kinds, (count,), generator=generator)
            kind = torch.where(opens, kind, stack[rows, (height - 1).clamp_min(0)])
            text[:, place] = 2 * kind + ~opens
            stack[rows, height] = kind  # where one closes, above what is open, to be overwritten
            height = height + torch.where(opens, 1, -1)
        return text

    def fault(self, text: str) -> str:
        """The first bracket that closes nothing or the wrong one, or how many stay open."""
        open_brackets: list[str] = []
        for symbol in text:
            if symbol in self._closing:
                open_brackets.append(symbol)
            elif not open_brackets:
                return f"{symbol} closes nothing"
            elif self._closing[opened := open_brackets.pop()] != symbol:
                return f"{symbol} closes {opened}"
        return "some stay open" if open_brackets else ""

    def completable(self, text: str) -> bool:
        """The first bracket of a stretch is closed somewhere, with brackets between and after."""

        @cache
        def balanced(start: int, stop: int) -> bool:
            return start == stop or any(
                self._pair(text[start], text[k]) and balanced(start + 1, k) and balanced(k + 1, stop)
                for k in range(start + 1, stop, 2)
            )

        return len(text) % 2 == 0 and balanced(0, len(text))

    def entropy(self) -> float:
        """n pairs: a Catalan number of shapes, and kinds^n."""
        pairs = self.length // 2
        return math.log(math.comb(self.length, pairs) // (pairs + 1)) + pairs * math.log(self.kinds)

    @property
    def _closing(self) -> dict[str, str]:
        """What closes each."""
        return {pair[0]: pair[1] for pair in PAIRS[: self.kinds]}

    def _pair(self, left: str, right: str) -> bool:
        """Whether both can be one pair."""
        return any((left in (opens, HOLE)) and (right in (closes, HOLE)) for opens, closes in self._closing.items())
