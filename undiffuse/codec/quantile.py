"""The jittered quantile transform: any column of numbers as exactly normal ones, undone exactly, however many ties.

A value v that takes the share (F(v-), F(v)] of the data is encoded as Phi^-1(u), u uniform in that interval, with a new
draw each time; u is then uniform over all of (0, 1), whatever the data. Decoding is the empirical quantile function,
F^-1(Phi(z)). So 90% zeros are not a spike that a network must learn: they are the lowest nine tenths of a normal
distribution.

A column with many distinct values (more than a tenth of the rows) should also decode to values between those seen.
There, each value takes only the middle tenth of its interval, and decoding is linear in between.

What diffuses is z in float32, whose steps are up to 2^-25 of u. So a draw keeps half a step from its interval's ends,
and the middle of an interval is at least four such halves wide: rounding z never leaves it, up to 2^24 distinct values.
"""

from typing import Self

import torch
from torch import Tensor, nn

MANY = 0.1  # distinct values by rows, from which values between those seen are made
MARGIN = 0.45  # of a row's share, to each side of an interval, for what is between two values
TINY = 2.0**-24  # nothing is encoded beyond +-5.3
ROUNDING = 2.0**-26  # how far u moves, at most, when z is rounded to float32: half a step, 2^-24, times phi(1)


class Quantile(nn.Module):
    """One column's distribution: ``distinct`` values, and how often each was seen.

    Attributes:
        values: (distinct,) float64, rising.
        counts: (distinct,) int64.
    """

    values: Tensor
    counts: Tensor

    def __init__(self, distinct: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.arange(distinct, dtype=torch.float64))
        self.register_buffer("counts", torch.ones(distinct, dtype=torch.int64))

    @classmethod
    def measure(cls, x: Tensor) -> Self:
        """The distribution of numbers (count,), ignoring NaN; if all are NaN, it is a single zero."""
        known = x[~x.isnan()].double()
        values, counts = (known if len(known) else torch.zeros(1).double()).unique(return_counts=True)
        made = cls(len(values))
        made.values.copy_(values)
        made.counts.copy_(counts)
        return made

    def interval(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The interval of u for values (count,): its lower and upper ends, each (count,) float64.

        An unseen value gets a single point between those of its neighbours, or at the end that it lies beyond.
        """
        low, high = self._edges()
        after = torch.searchsorted(self.values, v).clamp_max(len(self.values) - 1)
        before = (after - 1).clamp_min(0)
        seen = self.values[after] == v
        gap = (self.values[after] - self.values[before]).clamp_min(torch.finfo(torch.float64).tiny)
        share = ((v - self.values[before]) / gap).clamp(0, 1)
        between = torch.where(v < self.values[0], low[0], torch.lerp(high[before], low[after], share))
        between = torch.where(v > self.values[-1], high[-1], between)
        return torch.where(seen, low[after], between), torch.where(seen, high[after], between)

    def decode(self, u: Tensor) -> Tensor:
        """The value at u (count,), float64."""
        low, high = self._edges()
        after = torch.searchsorted(high, u).clamp_max(len(high) - 1)
        if not self._is_dense:
            return self.values[after]
        before = (after - 1).clamp_min(0)
        gap = (low[after] - high[before]).clamp_min(torch.finfo(torch.float64).tiny)
        between = torch.lerp(self.values[before], self.values[after], ((u - high[before]) / gap).clamp(0, 1))
        return torch.where(u < low[after], between, self.values[after])

    @property
    def _is_dense(self) -> bool:
        return len(self.values) > max(2, MANY * int(self.counts.sum()))

    def _edges(self) -> tuple[Tensor, Tensor]:
        """The ends of each value's interval, (distinct,) each."""
        counts = self.counts.double()
        high, rows = counts.cumsum(0), counts.sum()
        margin = (0.5 - 2 * ROUNDING * rows).clamp(0.0, MARGIN) if self._is_dense else 0.0
        return (high - counts + margin) / rows, (high - margin) / rows


def to_normal(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """Phi^-1 of what lies the share u of the way from ``low`` to ``high``, float64; between them still in float32."""
    low, high = low.double(), high.double()
    inside = (0.5 * (high - low)).clamp_max(ROUNDING)
    return torch.special.ndtri(torch.lerp(low + inside, high - inside, u.double()).clamp(TINY, 1 - TINY))


def to_uniform(z: Tensor) -> Tensor:
    """Phi(z), float64."""
    return torch.special.ndtr(z.double())
