"""Sums: 047+985=1032, digit by digit, with a carry that runs from right to left."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.checkable.checkable import HOLE, Checkable

MOST = 17  # digits of a number, whose sum int64 holds
DIGITS = "0123456789"
PLUS, EQUALS = 0, 11  # tokens; the digits are between


@dataclass(frozen=True)
class Arithmetic(Checkable):
    """``count`` sums of two numbers of so many ``digits``, drawn by ``seed``; all are equally likely."""

    items: ClassVar[str] = "sums"

    count: int = 20_000
    digits: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= MOST:
            raise UserError(f"a sum here is of numbers of 1 to {MOST} digits, not {self.digits}")

    @property
    def symbols(self) -> tuple[str, ...]:
        """In the order of their codes."""
        return ("+", *DIGITS, "=")

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Two numbers of independent digits, and their sum."""
        a, b = (torch.randint(10, (count, self.digits), generator=generator) for _ in range(2))
        powers = 10 ** torch.arange(self.digits, -1, -1)
        total = ((a + b) * powers[1:]).sum(1)
        c = total[:, None] // powers % 10
        plus, equals = (torch.full((count, 1), sign) for sign in (PLUS, EQUALS))
        return torch.cat([plus, a + 1, plus, b + 1, equals, c + 1], 1)[:, 1:]

    def fault(self, text: str) -> str:
        """No sum, or a wrong one."""
        n = self.digits
        found = re.fullmatch(rf"(\d{{{n}}})\+(\d{{{n}}})=(\d{{{n + 1}}})", text)
        if not found:
            return "no sum of two numbers"
        a, b, c = map(int, found.groups())
        return "" if a + b == c else "a wrong sum"

    def completable(self, text: str) -> bool:
        """From the last digits on, whether each carry is possible."""
        n = self.digits
        a, plus, b, equals = text[:n], text[n], text[n + 1 : 2 * n + 1], text[2 * n + 1]
        first, c = text[2 * n + 2], text[2 * n + 3 :]
        if plus not in ("+", HOLE) or equals not in ("=", HOLE):
            return False
        carries = {0}
        for column in zip(reversed(a), reversed(b), reversed(c), strict=True):
            carries = {carry for before in carries for carry in self._carries(before, *column)}
        return any(first in (str(carry), HOLE) for carry in carries)

    def entropy(self) -> float:
        """100^digits pairs of numbers."""
        return 2 * self.digits * math.log(10)

    def _carries(self, carry: int, left: str, right: str, below: str) -> set[int]:
        """The carries that one column can hand on."""
        totals = {carry + p + q for p in _values(left) for q in _values(right)}
        return {total // 10 for total in totals if total % 10 in _values(below)}


def _values(symbol: str) -> set[int]:
    """The digits that a symbol may be; none if it is no digit."""
    return set(range(10)) if symbol == HOLE else {DIGITS.index(symbol)} if symbol in DIGITS else set()
