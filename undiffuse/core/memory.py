"""Checks of memory before it is allocated, because a machine that swaps no longer responds.

require(4 * count * columns, "as many points")      raises a UserError if that is more than is free
build = within_memory(build)                        counts a module's weights before it is built
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil
import torch
from torch import Tensor, nn

from undiffuse.core.errors import UserError

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)
CGROUP = Path("/sys/fs/cgroup")
PARTS = 50_000  # tensors of a network; the largest that are published have a tenth
COUNTING = ContextVar("counting", default=False)  # whether what is built is counted
ASIDE = 1 << 28  # bytes of a module that its file need not hold


def free() -> int:
    """Bytes that this process can still allocate, within the machine and the container that it runs in."""
    found = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        files = int(statistics.get("active_file", 0)) + int(statistics.get("inactive_file", 0))  # cache, which is freed
        return min(found, int(limit) - int(used) + files)
    except (OSError, ValueError):  # no container, no limit, another system
        return found


def require(size: float, what: str) -> None:
    """Raises UserError if ``what`` takes ``size`` bytes and fewer are free."""
    there = free()
    if size > there:
        raise UserError(f"{what} would take {in_words(size)} of memory, and {in_words(there)} is free; ask for less")


def in_words(size: float) -> str:
    """1,500,000,000 bytes as 1.5 GB, 1,500,000 as 1.5 MB."""
    if size >= 1e15:
        return "millions of GB"
    if size < 1e7:
        return f"{size / 1e6:.3g} MB"
    return f"{size / 1e9:,.0f} GB" if size >= 1e11 else f"{size / 1e9:.3g} GB"


def within_memory(build: Callable[P, M]) -> Callable[P, M]:
    """Decorates a function that builds a module: it raises a `UserError` if the weights do not fit memory."""

    @wraps(build)
    def checked(*args: P.args, **kwargs: P.kwargs) -> M:
        require_network(lambda: build(*args, **kwargs))
        return build(*args, **kwargs)

    return checked


def require_network(build: Callable[[], object]) -> None:
    """Raises UserError if the weights of what ``build`` makes do not fit; counted on the meta device.

    What is counted already, as by `within_file`, is built without it: the meta device is slow to begin with.
    """
    if COUNTING.get():
        return
    most = free()
    too_large = f"the network would take more than the {in_words(most)} that is free; make it smaller"
    with torch.device("meta"), _counted(most, too_large, meta=True):
        build()


def within_file(size: int) -> AbstractContextManager[None]:
    """While modules are built that a file of ``size`` bytes fills: raises UserError for more than it can hold.

    The limit is twice that, and `ASIDE`, as some buffers (tables of positions) are computed and in no file.
    """
    return _counted(2 * size + ASIDE, "takes more than the file holds: damaged, or of another recipe", meta=False)


@contextmanager
def _counted(most: int, too_large: str, meta: bool) -> Iterator[None]:
    """While modules are built: raises UserError beyond ``most`` bytes of weights and buffers, or `PARTS` of them.

    Counts those on the meta device, or those on any other.
    """
    size = parts = 0

    def count(module: nn.Module, name: str, held: Tensor | None) -> None:
        nonlocal size, parts
        if held is None or held.is_meta != meta:
            return
        size, parts = size + held.nbytes, parts + 1
        if size > most:
            raise UserError(too_large)
        if parts > PARTS:
            raise UserError(f"the network would have more than {PARTS:,} tensors of weights; make it less deep")

    weights = nn.modules.module.register_module_parameter_registration_hook(count)
    buffers = nn.modules.module.register_module_buffer_registration_hook(count)
    counting = COUNTING.set(True)
    try:
        yield
    except (RuntimeError, OverflowError) as error:  # more numbers than can be counted
        if "overflow" in str(error) or isinstance(error, OverflowError):
            raise UserError("the network would take millions of GB of memory; make it smaller") from None
        raise
    finally:
        COUNTING.reset(counting)
        weights.remove()
        buffers.remove()
