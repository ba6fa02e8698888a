"""Several processes that sample as one: each draws its share, and all have all samples.

    with as_one():                  under `accelerate launch`, in every process
        run.sample(50_000)

As noise belongs to the sample (`undiffuse.core.noise.SeededNoise`), the samples are those of one process. Training
splits batches instead (`undiffuse.train.trainer`), and only its main process samples for reports: so sampling is shared
only inside this context.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from undiffuse.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_SHARING: ContextVar[bool] = ContextVar("sharing", default=False)


def launched() -> bool:
    """Whether this process was launched as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """Whether this process prints and writes: of several, the first."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def as_one() -> Iterator[bool]:
    """Share sampling while this context is open; gives whether this process prints and writes. It must not be nested.

    The standard output of the others is discarded. A single process is the main one, and shares nothing.
    """
    if not launched():
        yield True
        return
    from accelerate import Accelerator

    state = Accelerator()
    token = _SHARING.set(True)
    try:
        with nullcontext() if state.is_main_process else redirect_stdout(Path(os.devnull).open("w")):
            yield state.is_main_process
        state.wait_for_everyone()
    finally:
        _SHARING.reset(token)


def share(count: int) -> range:
    """Which of ``count`` samples this process draws: all, or one of nearly equal parts."""
    if not _SHARING.get():
        return range(count)
    from torch import distributed as dist

    rank, size = dist.get_rank(), dist.get_world_size()
    return range(rank * count // size, (rank + 1) * count // size)


def in_batches(count: int, batch: int, make: "Callable[[range], Tensor]", none: "Tensor") -> "Tensor":
    """Samples 0 ... ``count`` - 1 of all processes, on the CPU; made ``batch`` at once, or fewer if memory is short.

    ``none`` is an empty batch of samples, for a process whose share is empty. Raises UserError if one sample does not
    fit the device, or all of them do not fit memory.
    """
    import torch

    from undiffuse.core.memory import require

    require(count * math.prod(none.shape[1:]) * none.element_size(), f"{count:,} samples")
    mine = share(count)
    made, done = [none.cpu()], mine.start
    while done < mine.stop:
        rows = range(done, min(done + batch, mine.stop))
        try:
            made.append(make(rows).cpu())
            done = rows.stop
        except torch.OutOfMemoryError:
            if batch == 1:
                raise UserError("one sample alone does not fit the device's memory") from None
            batch //= 2
    return gathered(torch.cat(made))


def gathered(mine: "Tensor") -> "Tensor":
    """The samples of all processes, in order, in each of them; on the CPU."""
    if not _SHARING.get():
        return mine
    import torch
    from torch import distributed as dist

    parts: list[Tensor | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, mine)
    return torch.cat([part for part in parts if part is not None])


def elsewhere(path: Path) -> Path:
    """A path in a new temporary folder, where a process writes what the main one writes to ``path``."""
    return Path(tempfile.mkdtemp(prefix="undiffuse-")) / path.name
