"""A large file that is read from front to back once: its rows are kept as they lie in memory, and mapped from then on.

`undiffuse.data.cache` makes rows one by one, on all cores, as decoding pictures takes long; here one pass writes them
all. What else the pass has found (an alphabet, a schema) is in the index beside them.
"""

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from undiffuse.core.errors import UserError, caution
from undiffuse.core.on_disk import OnDisk
from undiffuse.data.cache import ROWS, CacheEntry, fingerprint

AT_ONCE = 1 << 24  # bytes whose checksum is computed together


@dataclass(frozen=True)
class KeptWhole:
    """What one pass has written.

    Attributes:
        dtype, shape: Of a row.
        train, test: How many rows are trained on, which come first, and how many are held out.
        facts: What else is known, as JSON has it.
        checksums: Of the training part, the held-out part and both.
    """

    dtype: str
    shape: tuple[int, ...]
    train: int
    test: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    checksums: tuple[int, int, int] = (0, 0, 0)

    def opened(self, file: Path, split: str) -> OnDisk:
        """The rows of a part. Raises ValueError for a file that is cut off."""
        count, dtype = self.train + self.test, getattr(torch, self.dtype)
        if file.stat().st_size != count * self.size:
            raise ValueError
        parts = {"train": slice(self.train), "test": slice(self.train, None), "all": slice(None)}
        checksum = self.checksums[[*parts].index(split)]
        return OnDisk.open(file, dtype, (count, *self.shape), parts[split], checksum)

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def kept_whole(place: CacheEntry, write: Callable[[Path], KeptWhole], split: str) -> tuple[OnDisk, Mapping[str, Any]]:
    """The rows of a part, and the facts: from the cache, or from a pass that ``write`` makes into a file."""

    def fill(folder: Path) -> dict[str, Any]:
        written = write(folder / ROWS)
        sums = _checksums(folder / ROWS, written.train * written.size)
        return asdict(written) | {"checksums": sums}

    with place.turn():
        found = _opened(place, split)
        if found is None:
            place.write(fill)
            found = _opened(place, split)
    if found is None:
        raise UserError(f"{place.folder}: changed while it was read; try again")
    return found


def entry_of(path: Path, *key: object) -> CacheEntry:
    """Where what is made of one file is kept: anew when its size or time changes."""
    status = path.stat()
    return CacheEntry(
        path.name[:40], (*key, path.resolve()), fingerprint([(path.name, (status.st_size, status.st_mtime_ns))])
    )


def _opened(place: CacheEntry, split: str) -> tuple[OnDisk, Mapping[str, Any]] | None:
    """None where nothing is kept, or what is damaged, which is said."""
    index = place.read()
    if index is None:
        return None
    try:
        kept = KeptWhole(**{name: value for name, value in index.items() if name != "fingerprint"})
        return kept.opened(place.folder / ROWS, split), kept.facts
    except (OSError, ValueError, TypeError, AttributeError):
        caution(f"{place.folder}: a cache that is cut off or damaged; it is made anew")
        return None


def _checksums(file: Path, first: int) -> tuple[int, int, int]:
    """CRC-32 of the ``first`` bytes of a file, of the others, and of all."""
    parts, every = [0, 0], 0
    with file.open("rb") as held:
        for part, size in enumerate((first, file.stat().st_size - first)):
            for at in range(0, size, AT_ONCE):
                some = held.read(min(AT_ONCE, size - at))
                parts[part], every = zlib.crc32(some, parts[part]), zlib.crc32(some, every)
        os.fsync(held.fileno())
    return parts[0], parts[1], every
