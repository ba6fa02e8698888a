"""CIFAR-10's binary format: records of one label byte and 3,072 bytes of picture, in files of 10,000 records."""

from pathlib import Path

import numpy as np

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.array import from_array

RECORD = 1 + 3 * 32 * 32


def is_cifar(folder: Path) -> bool:
    """Whether a folder is laid out as ``cifar-10-batches-bin``."""
    return (folder / "data_batch_1.bin").is_file()


def cifar(folder: Path, split: str = "train") -> Dataset:
    """Pictures ``(count, 3, 32, 32)`` and their labels; train is every ``data_batch_*.bin``, test ``test_batch.bin``.

    Raises:
        UserError: A file is missing, or is not a whole number of records.
    """
    check_split(split)
    train, test = sorted(folder.glob("data_batch_*.bin")), [folder / "test_batch.bin"]
    files = {"train": train, "test": test, "all": train + test}[split]
    records = np.concatenate([_records(file) for file in files])
    names = folder / "batches.meta.txt"
    label_names = tuple(names.read_text().split()) if names.is_file() else tuple("0123456789")
    pictures = records[:, 1:].reshape(-1, 3, 32, 32)
    return from_array(pictures, records[:, 0], label_names, name=folder.name)


def _records(file: Path) -> np.ndarray:
    """``(count, 3073)`` bytes of one file."""
    if not file.is_file():
        raise UserError(f"{file}: missing; CIFAR-10 is data_batch_1.bin to data_batch_5.bin and test_batch.bin")
    values = np.fromfile(file, np.uint8)
    if len(values) == 0 or len(values) % RECORD:
        raise UserError(f"{file}: truncated or foreign; {len(values)} bytes are not records of {RECORD} bytes")
    return values.reshape(-1, RECORD)
