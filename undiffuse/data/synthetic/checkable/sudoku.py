"""Sudokus of 4 x 4 or 6 x 6, full, a line of digits for each row: every row, column and box has each digit once."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.checkable.checkable import HOLE, Checkable

SIDES = (4, 6)
HIGH = 2  # rows of a box, which is half as wide as the sudoku

Grid = tuple[int, ...]  # row after row; 0 is empty


@dataclass(frozen=True)
class Sudoku(Checkable):
    """``count`` full sudokus of a ``side`` of 4 or 6, drawn by ``seed``; all are equally likely.

    There are 288 of 4 x 4, and 28,200,960 of 6 x 6.
    """

    items: ClassVar[str] = "sudokus"

    count: int = 20_000
    side: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UserError(f"a sudoku here has a side of {' or '.join(map(str, SIDES))}, not {self.side}")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The end of a line, which is token 0, and the digits."""
        return ("\n", *(str(digit + 1) for digit in range(self.side)))

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """One of `canonical`, its digits renamed and the columns of the left boxes exchanged.

        These changes lead from what all of these begin with to any other first row and left half of the second, each in
        one way, and keep what is valid: so the draw is even.
        """
        n, half = self.side, self.side // HIGH
        every = canonical(n)
        grid = every[torch.randint(len(every), (count,), generator=generator)]
        names = torch.rand(count, n, generator=generator).argsort(1) + 1
        left = torch.rand(count, half, generator=generator).argsort(1)
        order = torch.cat([left, torch.arange(half, n).expand(count, -1)], 1)[:, None].expand(-1, n, -1)
        renamed = names.gather(1, grid.flatten(1)).view(count, n, n).gather(2, order)
        return torch.cat([renamed, torch.zeros(count, n, 1, dtype=torch.long)], 2).flatten(1)[:, :-1]

    def fault(self, text: str) -> str:
        """Lines of a wrong length, or where a digit stands twice."""
        lines = text.split("\n")
        if [len(line) for line in lines] != [self.side] * self.side:
            return f"not {self.side} lines of {self.side} digits"
        digits = "".join(lines)
        for name, places in units(self.side):
            if len({digits[place] for place in places}) < self.side:
                return f"a digit stands twice in a {name}"
        return ""

    def completable(self, text: str) -> bool:
        """By search."""
        cells = [text[start : start + self.side] for start in range(0, len(text), self.side + 1)]
        if any(symbol not in ("\n", HOLE) for symbol in text[self.side :: self.side + 1]) or "\n" in "".join(cells):
            return False
        known = tuple(0 if symbol == HOLE else int(symbol) for symbol in "".join(cells))
        return next(completions(known, self.side), None) is not None

    def entropy(self) -> float:
        """n! names of the digits, (n/2)! orders of the left columns, and what is `canonical`."""
        changes = math.factorial(self.side) * math.factorial(self.side // HIGH)
        return math.log(changes * len(canonical(self.side)))


@cache
def canonical(side: int) -> Tensor:
    """All sudokus of digits from 0 that begin 0 1 2 ..., with the second row's left half the first's right, (n, side,
    side).

    Row by row: a digit is a bit, so that a row fits below others if no column's bits meet, and if within a box the
    halves of the two rows do not.
    """
    rows = torch.tensor(list(itertools.permutations(range(side))))
    bits, half = (2**rows).to(torch.uint8), side // HIGH
    left = bits[:, :half].sum(1)
    found = torch.arange(side).expand(1, 1, side)
    for row in range(1, side):
        fits = ((2**found).sum(1).to(torch.uint8)[:, None] & bits == 0).all(2)
        if row % HIGH:
            fits &= (2 ** found[:, -1, :half]).sum(1)[:, None] & left == 0
        if row == 1:
            fits &= (rows[:, :half] == torch.arange(half, side)).all(1)
        before, next_row = fits.nonzero(as_tuple=True)
        found = torch.cat([found[before], rows[next_row][:, None]], 1)
    return found


def completions(grid: Grid, side: int) -> Iterator[Grid]:
    """All full sudokus that have the digits of this one: the cell that has the fewest choices is filled first."""
    near = neighbours(side)
    if any(digit and any(grid[other] == digit for other in near[cell]) for cell, digit in enumerate(grid)):
        return
    empty = [cell for cell, digit in enumerate(grid) if not digit]
    if not empty:
        yield grid
        return
    choices = {cell: set(range(1, side + 1)) - {grid[other] for other in near[cell]} for cell in empty}
    cell = min(empty, key=lambda one: len(choices[one]))
    for digit in sorted(choices[cell]):
        yield from completions((*grid[:cell], digit, *grid[cell + 1 :]), side)


@cache
def units(side: int) -> list[tuple[str, list[int]]]:
    """The rows, columns and boxes: the places of each."""
    line, half = range(side), side // HIGH
    rows = [("row", [side * row + column for column in line]) for row in line]
    columns = [("column", [side * row + column for row in line]) for column in line]
    boxes = [
        ("box", [side * (top + row) + left + column for row in range(HIGH) for column in range(half)])
        for top in range(0, side, HIGH)
        for left in range(0, side, half)
    ]
    return rows + columns + boxes


@cache
def neighbours(side: int) -> list[set[int]]:
    """For each cell those that share a row, column or box with it."""
    return [
        {place for _, places in units(side) if cell in places for place in places} - {cell} for cell in range(side**2)
    ]
