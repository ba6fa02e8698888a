"""How many threads a training takes: as many as the machine has cores that nobody uses.

Threads that share a core wait for each other at every operation, and waiting by spinning keeps the core from whoever is
waited for: two threads beside one busy process can be many times slower than one. So a training begins with as many
threads as there are idle cores, and spinning is turned off (`core/waiting.py`) before torch is imported.

How many threads there are changes the order of sums, and so their last bits. A training must resume bit for bit: the
number is chosen once, kept in its states, and taken again when it is resumed. ``OMP_NUM_THREADS`` goes before all.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from undiffuse.train.state import newest_facts

FEW = 16  # numbers a row, up to which a network is too small to share
LOOKED, LOOKS = 0.25, 3  # seconds for which the machine is watched, and how often if it is busy: it may be for a moment
QUOTA = Path("/sys/fs/cgroup/cpu.max")


@contextmanager
def threads_for(row: torch.Size, state: Path) -> Iterator[None]:
    """While this is open, the threads for rows of this shape, or as many as the newest state was made by."""
    before = torch.get_num_threads()
    torch.set_num_threads(chosen(row, state, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen(row: torch.Size, state: Path, most: int) -> int:
    """From 1 to ``most``: as before; else one for small rows; else as many as there are idle cores."""
    saved = newest_facts(state).get("threads")
    if isinstance(saved, int) and not isinstance(saved, bool) and saved >= 1:
        return min(saved, most)
    if row.numel() <= FEW:
        return 1
    return most if "OMP_NUM_THREADS" in os.environ else min(most, idle_cores())


def idle_cores() -> int:
    """Cores that this process may use and that nobody used just now, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(allowed, quota(QUOTA))
    found = 1
    for _ in range(LOOKS):
        idle = sum(100 - used for used in psutil.cpu_percent(LOOKED, percpu=True)) / 100
        found = max(found, min(round(cores), round(idle)))
        if found == round(cores):
            break
    return found


def quota(file: Path) -> float:
    """How many cores a container may use: "max 100000" is all, "150000 100000" is 1.5."""
    try:
        most, period = file.read_text().split()
        return float(most) / float(period)
    except (OSError, ValueError):
        return float("inf")
