"""What is computed once of large data and kept on disk: the second time it is there at once.

    $UNDIFFUSE_CACHE, or $XDG_CACHE_HOME/undiffuse, or ~/.cache/undiffuse
        photos-3f2a90c1/index.json      the fingerprint of the files that it was made of, and what else is known
        photos-3f2a90c1/rows            one row after the other, nothing but numbers (`OnDisk`)

A cache is written whole or not at all, by one process while the others wait. One that was made of other files, is of an
older version or cut off is said, and made anew. It can be deleted at any time.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import crc32

import numpy as np
import torch

from undiffuse.core.errors import UserError, caution
from undiffuse.core.files import write_folder
from undiffuse.core.memory import in_words
from undiffuse.core.on_disk import OnDisk, checksum_of_rows
from undiffuse.core.paths import path_of

VERSION = 1
VARIABLE = "UNDIFFUSE_CACHE"
INDEX, ROWS = "index.json", "rows"
AT_ONCE = 16  # rows that a thread makes before it asks for more
LARGE, MANY = 1 << 27, 10_000  # bytes, and items that take long to read: beyond either, what was made of them is kept
Make = Callable[[int], np.ndarray]


def cache_folder() -> Path:
    """Where caches lie: where `VARIABLE` says, or where the system keeps such files."""
    said = os.environ.get(VARIABLE)
    return path_of(said) if said else path_of(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "undiffuse"


def is_large(count: int, size: int = 0) -> bool:
    """Whether what is made of ``count`` files, ``size`` bytes, is kept on disk; else it lives in memory."""
    return size > LARGE or count > MANY


@dataclass(frozen=True)
class CacheEntry:
    """Where one thing is kept.

    Attributes:
        name: For people who look into the folder.
        key: What is kept: the same for the same request, whatever the files hold.
        fingerprint: Of the files that it is made of: their names, sizes and times.
    """

    name: str
    key: Sequence[object]
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Its folder."""
        return cache_folder() / f"{self.name}-{_hash(VERSION, *self.key)[:12]}"

    def read(self) -> dict[str, Any] | None:
        """The index; None where there is none. One that is damaged, or of files that have changed since, is said."""
        try:
            index = json.loads((self.folder / INDEX).read_bytes())
            if not isinstance(index, dict):
                raise ValueError
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            caution(f"{self.folder}: a cache that is damaged; it is made anew")
            return None
        if index.get("fingerprint") != self.fingerprint:
            caution(f"{self.folder}: the files have changed since this cache was made; it is made anew")
            return None
        return index

    def write(self, fill: Callable[[Path], Mapping[str, Any]]) -> None:
        """``fill(folder)`` writes into an empty folder, and returns what the index says.

        Raises UserError where it may not be written, or the disk is full.
        """

        def whole(part: Path) -> None:
            index = {"fingerprint": self.fingerprint, **fill(part)}
            shutil.rmtree(self.folder, ignore_errors=True)  # those who read it keep what they have opened
            (part / INDEX).write_text(json.dumps(index), encoding="utf-8")

        try:
            write_folder(self.folder, whole)
        except UserError as error:
            raise UserError(f"{error}; a cache may lie elsewhere: {VARIABLE}=FOLDER") from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One process after the other, so that the first makes what the others read."""
        folder = self.folder.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / f".{self.folder.name}.lock").open("w")
        except OSError as error:
            raise UserError(
                f"{folder}: no cache can be written there ({error.strerror}); say where it may lie: {VARIABLE}=FOLDER"
            ) from None
        with file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            except (ImportError, OSError):  # another system, or a disk without locks: each makes its own
                pass
            yield


def remembered(place: CacheEntry, compute: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What ``compute`` returns, which is text, numbers and lists of them: computed once, then read."""
    with place.turn():
        index = place.read()
        if index is None:
            found = compute()
            place.write(lambda part: found)
            return found
    return index


@dataclass(frozen=True)
class CachedRows:
    """Rows that are kept: those of the training part, then those that are held out.

    Attributes:
        dtype, shape: Of a row.
        train, test: Which items the rows are of, in their order.
        checksums: Of the training part, the held-out part and both.
        broken: Items of which no row could be made, and why.
    """

    dtype: str
    shape: tuple[int, ...]
    train: list[int]
    test: list[int]
    checksums: tuple[int, int, int]
    broken: list[tuple[int, str]]

    def part(self, split: str) -> tuple[list[int], slice, int]:
        """The items of a part, where their rows lie, and their checksum."""
        train, every = len(self.train), len(self.train) + len(self.test)
        return {
            "train": (self.train, slice(0, train), self.checksums[0]),
            "test": (self.test, slice(train, every), self.checksums[1]),
            "all": (self.train + self.test, slice(0, every), self.checksums[2]),
        }[split]


@dataclass(frozen=True)
class Making:
    """How rows are made: ``make(item)`` returns one, or raises what is wrong with the item.

    Attributes:
        make: Called from several threads.
        dtype, shape: Of a row.
        split: Which items are trained on and which are held out, in order; asked for only where rows are made.
        what: What is done, for the progress bar.
    """

    make: Make
    dtype: str
    shape: tuple[int, ...]
    split: Callable[[], tuple[Sequence[int], Sequence[int]]]
    what: str

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def kept_rows(place: CacheEntry, making: Making, split: str) -> tuple[OnDisk, list[int], CachedRows]:
    """The rows of a part, the items that they are of, and all that is known: from the cache, or made for it."""
    with place.turn():
        index = place.read()
        found = _opened(place, index, split) if index else None
        if found is None:
            place.write(lambda part: asdict(_made(part / ROWS, making)))
            found = _opened(place, place.read() or {}, split)
    if found is None:
        raise UserError(f"{place.folder}: changed while it was read; try again")
    return found


def _opened(place: CacheEntry, index: Mapping[str, Any], split: str) -> tuple[OnDisk, list[int], CachedRows] | None:
    """None for rows that are damaged, which is said."""
    try:
        kept = CachedRows(**{name: value for name, value in index.items() if name != "fingerprint"})
        items, part, checksum = kept.part(split)
        shape = (len(kept.train) + len(kept.test), *kept.shape)
        file, dtype = place.folder / ROWS, getattr(torch, kept.dtype)
        if file.stat().st_size != int(np.prod(shape)) * torch.empty(0, dtype=dtype).element_size():
            raise ValueError
        return OnDisk.open(file, dtype, shape, part, checksum), items, kept
    except (OSError, ValueError, TypeError, AttributeError):
        caution(f"{place.folder}: a cache that is cut off or damaged; it is made anew")
        return None


def _made(file: Path, making: Making) -> CachedRows:
    """Every row, written where it belongs; those that cannot be made are left out, and the later ones move up."""
    train, test = making.split()
    items, size = [*train, *test], making.size
    _require_room(file.parent, size * len(items))
    checksums, broken, one_by_one = np.zeros(len(items), np.uint64), dict[int, str](), Lock()
    with file.open("wb+", buffering=0) as out:
        if hasattr(os, "posix_fallocate") and items:
            os.posix_fallocate(out.fileno(), 0, size * len(items))  # a full disk is found out now

        def some(first: int) -> int:
            for row in range(first, min(first + AT_ONCE, len(items))):
                try:
                    made = np.ascontiguousarray(making.make(items[row]))
                except Exception as error:  # decoders of damaged files raise anything
                    broken[row] = (str(error).splitlines() or [type(error).__name__])[0]
                    continue
                checksums[row] = crc32(made.data)
                with one_by_one:
                    out.seek(row * size)
                    out.write(made.data)
            return min(AT_ONCE, len(items) - first)

        _all(some, range(0, len(items), AT_ONCE), len(items), f"{making.what} into {file.parent.parent}")
        whole = np.array([row not in broken for row in range(len(items))], bool)
        if not whole.any():
            raise UserError(f"{making.what}: none of {len(items):,} could be read ({next(iter(broken.values()), '')})")
        for new, old in enumerate(np.flatnonzero(whole).tolist()):
            if new != old:
                out.seek(old * size)
                moved = out.read(size)
                out.seek(new * size)
                out.write(moved)
        out.truncate(size * int(whole.sum()))
        os.fsync(out.fileno())
    first, second = (list(compress(checksums[part].tolist(), whole[part])) for part in _parts(train))
    sums = [checksum_of_rows(crcs, size) for crcs in (first, second, first + second)]
    left, held = (list(compress(items[part], whole[part])) for part in _parts(train))
    why = [(items[row], reason) for row, reason in sorted(broken.items())]
    return CachedRows(making.dtype, making.shape, left, held, (sums[0], sums[1], sums[2]), why)


def _parts(train: Sequence[int]) -> tuple[slice, slice]:
    return slice(len(train)), slice(len(train), None)


def _all(work: Callable[[int], int], firsts: Sequence[int], total: int, what: str) -> None:
    """Do all of the work on threads, with a bar that says how much time is left.

    Threads, as decoders let go of the interpreter: processes would import torch each, and need a guarded main module.
    """
    from rich.console import Console
    from rich.progress import Progress

    threads = ThreadPoolExecutor()
    try:
        with Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            for count in threads.map(work, firsts):
                bar.advance(task, count)
    finally:
        threads.shutdown(cancel_futures=True)  # Ctrl-C does not wait for all of them


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{folder.parent}: the cache would take {in_words(size)}, and {in_words(free)} is free there")


def fingerprint(files: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Of files: their names, and what changes when they are written to."""
    return _hash(*files)


def _hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()
