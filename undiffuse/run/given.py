"""What is known of the rows that are to be drawn, as the data is stored."""

from typing import NamedTuple, Self

import torch
from torch import Tensor


class Given(NamedTuple):
    """Rows of which some entries are known; sample i is to be row i modulo their count.

    Attributes:
        x: (rows, *shape); what it holds where nothing is known does not matter.
        known: (rows, *shape) bool.
        complete: Whether what is drawn must hold values: of a table, no missing cell.
    """

    x: Tensor
    known: Tensor
    complete: bool = False

    @classmethod
    def missing(cls, x: Tensor, complete: bool = False) -> Self:
        """Rows (rows, *shape) of numbers of which all are known but NaN."""
        return cls(x, ~x.isnan(), complete)

    def take(self, rows: range) -> "Given":
        """Those of samples ``rows``."""
        chosen = torch.arange(rows.start, rows.stop) % len(self.x)
        return self._replace(x=self.x[chosen], known=self.known[chosen])

    def put_back(self, x: Tensor) -> Tensor:
        """Samples x (rows, *shape), exactly as they were known."""
        return torch.where(self.known, self.x.to(x.dtype), x)
