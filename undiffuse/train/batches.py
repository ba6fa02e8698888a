"""Which rows a step trains on: a function of (seed, step) alone, so that a run can resume at any step.

Imagine that the data is shuffled again for every epoch and the epochs are laid end to end: step k takes positions k
batch to (k + 1) batch. Every row is seen once an epoch, and a batch may be larger than the data.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import combined
from undiffuse.core.on_disk import OnDisk
from undiffuse.core.shuffled import Permutation, shuffled
from undiffuse.data.dataset import Dataset

OTHER = 1  # of the seed of the order in which a bridge's start comes


def key(*numbers: int) -> int:
    """One seed from several numbers, all of which matter."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Batches:
    """Batches of a data set on the device: a small data set is kept there whole, else rows are sent when needed.

    Args:
        data: What to train on.
        batch: Rows a step, over all processes.
        seed: Of the order.
        device: Where batches are wanted.
        process: The index of this process, which takes its share of every batch.
        processes: How many there are.

    Attributes:
        count: Places in an epoch.
        order: order(epoch) -> which row comes at each place, (count,); of very many, any slice of that.
    """

    def __init__(
        self, data: Dataset, batch: int, seed: int, device: torch.device, process: int = 0, processes: int = 1
    ) -> None:
        self.batch, self.seed, self.device = batch, seed, device
        self.process, self.processes = process, processes
        at_hand = data.x.nbytes < _room(device)
        self.x = data.x.to(device) if at_hand else data.x
        self.conditions = None if data.conditions is None else data.conditions.to(self.x.device)
        self.count = len(data)
        self.order = lru_cache(maxsize=2)(self._order_of_epoch)

    def __call__(self, step: int) -> tuple[Tensor, Conditions | None]:
        """Rows ``(batch, *shape)`` as they are stored, and their conditions, of step 0, 1, ..."""
        rows = self.rows(step)[self.process :: self.processes].to(self.x.device, non_blocking=True)
        taken = self.x.take(rows) if isinstance(self.x, OnDisk) else self.x[rows]
        x = taken.to(self.device, non_blocking=True)
        conditions = None if self.conditions is None else self.conditions[rows].to(self.device, non_blocking=True)
        return x, conditions

    def rows(self, step: int) -> Tensor:
        """Which rows make the batch of a step, over all processes: ``(batch,)``."""
        count, start = self.count, step * self.batch
        parts = []
        while start < (step + 1) * self.batch:
            epoch, skip = divmod(start, count)
            part = self.order(epoch)[skip : skip + (step + 1) * self.batch - start]
            parts.append(part)
            start += len(part)
        return torch.cat(parts)

    def _order_of_epoch(self, epoch: int) -> Tensor | Permutation:
        return shuffled(self.count, key(self.seed, epoch))


class SameLabels(Batches):
    """Rows of a bridge's start, each of the label of the row of its end at the same place of the same batch.

    For every epoch of the end, the rows of each label are shuffled, and repeated if they are fewer than the end's.
    """

    def __init__(self, start: Dataset, end: Dataset, of_end: Batches, *how: Any) -> None:
        super().__init__(start, *how)
        self.end, self.of_end, self.count = _labels(end), of_end, len(end)
        self.start = _labels(start)

    def _order_of_epoch(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(key(self.seed, epoch))
        wanted = self.end[self.of_end.order(epoch)[:]]
        order = torch.empty_like(wanted)
        for label in wanted.unique():
            places, rows = (torch.nonzero(labels == label)[:, 0] for labels in (wanted, self.start))
            shuffled = rows[torch.randperm(len(rows), generator=generator)]
            order[places] = shuffled[torch.arange(len(places)) % len(rows)]
        return order


class BothEnds:
    """Batches of a bridge's data: (rows of its end, rows of its start, conditions); the start is None if it is noise.

    The rows of both ends come in orders of their own, except that paired data keeps its pairs, and that where labels go
    across, both rows have the same.
    """

    def __init__(self, data: Dataset, batch: int, seed: int, *where: Any) -> None:
        self.end = Batches(data, batch, seed, *where)
        self.start: Batches | None = None
        if data.start and data.conditions and not data.paired:
            self.start = SameLabels(data.start, data, self.end, batch, key(seed, OTHER), *where)
        elif data.start:
            self.start = Batches(data.start, batch, seed if data.paired else key(seed, OTHER), *where)

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None, Conditions | None]:
        """Rows of both, (batch, *shape) as they are stored, and the conditions of both, of step 0, 1, ..."""
        x, conditions = self.end(step)
        return x, self.start(step)[0] if self.start else None, conditions


def _labels(data: Dataset) -> Tensor:
    """The labels of all rows, (count,)."""
    labels, _ = combined(data.labels, data.label_names)
    assert labels is not None
    return labels


def _room(device: torch.device) -> float:
    """Bytes of data that may lie on the device: a quarter of what is free."""
    return torch.cuda.mem_get_info(device)[0] / 4 if device.type == "cuda" else float("inf")
