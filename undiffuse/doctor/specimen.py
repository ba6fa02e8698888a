"""What the checks of data share: some rows as standardised numbers, and their neighbours, computed once."""

import shlex
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from undiffuse.codec.normalise import Normalise
from undiffuse.data.dataset import Dataset, form_of
from undiffuse.doctor.finding import DoesNotApply
from undiffuse.measure.neighbours import nearest

MOST, NUMBERS = 4096, 1 << 24  # rows, and numbers in them


@dataclass(frozen=True)
class Specimen:
    """Data to be examined, and what the user calls it."""

    data: Dataset
    target: str
    seed: int = 0

    @property
    def again(self) -> str:
        """The command that shows the data once they are mended."""
        return f"undiffuse data {shlex.quote(self.target)}"

    @cached_property
    def chosen(self) -> Tensor:
        """The rows that are examined where all are too many, (rows,): where they stand in the data."""
        most = max(2, min(MOST, NUMBERS // max(1, self.data.x[0].numel())))
        return torch.randperm(len(self.data), generator=torch.Generator().manual_seed(self.seed))[:most]

    @cached_property
    def some(self) -> Dataset:
        """Those rows."""
        return self.data.take(self.chosen)

    @cached_property
    def standard(self) -> Normalise:
        """The codec under which these rows have mean 0 and deviation 1. Raises DoesNotApply for other than numbers."""
        if form_of(self.data.kind).needs:
            raise DoesNotApply(f"a check of numbers, not of a {self.data.kind}")
        return Normalise.measure(self.some)

    @cached_property
    def z(self) -> Tensor:
        """The rows, standardised, (rows, numbers)."""
        return self.standard.encode(self.some.x).flatten(1)

    @cached_property
    def neighbour(self) -> tuple[Tensor, Tensor]:
        """How far from each row the nearest other one is, and which, (rows,) each."""
        distance, which = nearest(self.z, self.z)
        return distance[:, 0], which[:, 0]
