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
from undiffuse.core.on_disk import OnDisk
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
    """

    def __init__(
        self, data: Dataset, batch: int, seed: int, device: torch.device, process: int = 0, processes: int = 1
    ) -> None:
        self.batch, self.seed, self.device = batch, seed, device
        self.process, self.processes = process, processes
        at_hand = data.x.nbytes < _room(device)
        self.x = data.x.to(device) if at_hand else data.x
        self.conditions = None if data.conditions is None else data.conditions.to(self.x.device)
        self._order = lru_cache(maxsize=2)(self._order_of_epoch)

    def __call__(self, step: int) -> tuple[Tensor, Conditions | None]:
        """Rows ``(batch, *shape)`` as they are stored, and their conditions, of step 0, 1, ..."""
        rows = self.rows(step)[self.process :: self.processes].to(self.x.device, non_blocking=True)
        taken = self.x.take(rows) if isinstance(self.x, OnDisk) else self.x[rows]
        x = taken.to(self.device, non_blocking=True)
        conditions = None if self.conditions is None else self.conditions[rows].to(self.device, non_blocking=True)
        return x, conditions

    def rows(self, step: int) -> Tensor:
        """Which rows make the batch of a step, over all processes: ``(batch,)``."""
        count, start = len(self.x), step * self.batch
        parts = []
        while start < (step + 1) * self.batch:
            epoch, skip = divmod(start, count)
            part = self._order(epoch)[skip : skip + (step + 1) * self.batch - start]
            parts.append(part)
            start += len(part)
        return torch.cat(parts)

    def _order_of_epoch(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(key(self.seed, epoch))
        return torch.randperm(len(self.x), generator=generator)


class BothEnds:
    """Batches of a bridge's data: (rows of its end, rows of its start), or None for a start that is noise.

    The rows of both ends come in orders of their own, except that paired data keeps its pairs.
    """

    def __init__(self, data: Dataset, batch: int, seed: int, *where: Any) -> None:
        self.end = Batches(data, batch, seed, *where)
        other = seed if data.paired else key(seed, OTHER)
        self.start = Batches(data.start, batch, other, *where) if data.start else None

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Rows of both, (batch, *shape) as they are stored, of step 0, 1, ..."""
        return self.end(step)[0], self.start(step)[0] if self.start else None


def _room(device: torch.device) -> float:
    """Bytes of data that may lie on the device: a quarter of what is free."""
    return torch.cuda.mem_get_info(device)[0] / 4 if device.type == "cuda" else float("inf")
