"""Rows in a file that read as a tensor in memory does: only what is asked for is read, and memory stays flat.

`OnDisk` is a tensor whose storage is a mapped file. Every operation on it gives an ordinary tensor, so what is computed
from it (``x[rows]``, ``x.float()``) lies in memory as ever. What the operating system keeps of the file is its own
cache, which it gives back whenever memory is short; `OnDisk.forget` gives back this process's share at once.
"""

import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

NUMBERS = 1 << 26  # in the rows that statistics of a file are measured on
KEPT = 1 << 28  # bytes that are read before they are given back
AROUND = 1 << 21  # bytes that the system may map around each row that is read
CRC32 = 0xEDB88320  # its polynomial, bits reversed


class OnDisk(Tensor):
    """Rows (count, ...) of a mapped file.

    Attributes:
        checksum: CRC-32 of the rows, known without reading them.
    """

    checksum: int
    _pages: mmap.mmap
    _read: int

    # what is computed from it is an ordinary tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def open(cls, path: Path, dtype: torch.dtype, shape: Sequence[int], part: slice, checksum: int) -> Self:
        """The rows ``part`` of a file of nothing but numbers, which in all have this shape.

        Raises ValueError for a file that is shorter.
        """
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        values: Any = np.memmap(path, kind, "c", shape=tuple(shape))  # copied where it is written to: never the file
        rows = torch.from_numpy(values[part]).as_subclass(cls)
        rows.checksum, rows._pages, rows._read = checksum, values._mmap, 0
        return rows

    def pieces(self, length: int, step: int) -> Self:
        """Pieces of ``length`` rows, which begin every ``step`` rows and may overlap: (count, *shape, length)."""
        cut = self.unfold(0, length, step).as_subclass(type(self))
        cut.checksum, cut._pages, cut._read = self.checksum, self._pages, 0
        return cut

    def take(self, rows: Tensor) -> Tensor:
        """``x[rows]``, of which the file's part in memory is given back in time."""
        taken = self[rows]
        self._read += max(taken.nbytes, AROUND * len(rows))
        if self._read > KEPT:
            self.forget()
        return taken

    def forget(self) -> None:
        """Give back the memory that holds what was read of the file; it is read again when it is needed."""
        self._read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED)


def checksum(x: Tensor) -> int:
    """CRC-32 of the rows."""
    return x.checksum if isinstance(x, OnDisk) else zlib.crc32(np.ascontiguousarray(x).data)


def typical(x: Tensor) -> Tensor:
    """Rows that statistics are measured on: all that lie in memory; of a file evenly spread ones."""
    return x[:: spacing(x)] if isinstance(x, OnDisk) else x


def spacing(x: Tensor) -> int:
    """How many rows lie between those that statistics are measured on, which in a file hold `NUMBERS` numbers in all;
    at least two of them are measured."""
    return max(1, min(len(x) // 2, -(-x.numel() // NUMBERS))) if isinstance(x, OnDisk) else 1


def checksum_of_rows(checksums: Sequence[int], size: int) -> int:
    """CRC-32 of rows of ``size`` bytes, one after the other, from that of each.

    A CRC is linear over bits: that of A followed by B is the CRC of A after as many zeros as B has bytes, xor that of
    B. These zeros are one 32 x 32 matrix, squared from that of a single zero bit, as in zlib's ``crc32_combine``.
    """
    zeros, power = _identity(), [CRC32, *(1 << bit for bit in range(31))]  # of one zero bit
    for bit in range((8 * size).bit_length()):
        if 8 * size >> bit & 1:
            zeros = [_times(power, column) for column in zeros]
        power = [_times(power, column) for column in power]
    tables = [[_times(zeros[8 * byte : 8 * byte + 8], value) for value in range(256)] for byte in range(4)]
    whole = 0
    for crc in checksums:
        moved = tables[0][whole & 255] ^ tables[1][whole >> 8 & 255]
        whole = crc ^ moved ^ tables[2][whole >> 16 & 255] ^ tables[3][whole >> 24]
    return whole


def _identity() -> list[int]:
    return [1 << bit for bit in range(32)]


def _times(matrix: Sequence[int], vector: int) -> int:
    """A matrix over bits, by its columns, times a vector."""
    found = 0
    for column in matrix:
        if vector & 1:
            found ^= column
        vector >>= 1
    return found
