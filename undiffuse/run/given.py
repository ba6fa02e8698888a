"""What is known of the rows that are to be drawn, as the data is stored."""

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Given(NamedTuple):
    """Rows in which some entries are known; sample i completes row i modulo their count.

    Attributes:
        x: (rows, *shape); unknown entries may hold any value.
        known: (rows, *shape) bool.
        complete: Whether every drawn cell must hold a value; in a table, none may be missing.
    """

    x: Tensor
    known: Tensor
    complete: bool = False

    @classmethod
    def missing(cls, x: Tensor, complete: bool = False) -> Self:
        """Rows (rows, *shape) of numbers; every entry that is not NaN is known."""
        return cls(x, ~x.isnan(), complete)

    def take(self, rows: range) -> "Given":
        """The rows of the samples numbered ``rows``."""
        chosen = torch.arange(rows.start, rows.stop) % len(self.x)
        return self._replace(x=self.x[chosen], known=self.known[chosen])

    def put_back(self, x: Tensor) -> Tensor:
        """Samples x (rows, *shape) with their known entries put back exactly."""
        return torch.where(self.known, self.x.to(x.dtype), x)
