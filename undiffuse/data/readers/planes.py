"""CIFAR-10, losslessly packed: what each pixel adds to the guess from its neighbours, in .xz files.

Three planes, G and R - G + 128 and B - G + 128 (mod 256), each guessed by the median edge detector of LOCO-I
(Weinberger, Seroussi and Sapiro 2000): from a to the left, b above and c above the left, min(a, b) if c >= max(a, b),
max(a, b) if c <= min(a, b), else a + b - c. Labels lie beside in ``labels.npz``.
"""

import lzma
from pathlib import Path

import numpy as np

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.array import arrays_of, from_array

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32


def are_planes(folder: Path) -> bool:
    """Whether a folder holds CIFAR-10 so packed."""
    return (folder / "cifar10_train_1.xz").is_file() and (folder / "labels.npz").is_file()


def planes(folder: Path, split: str = "train") -> Dataset:
    """Pictures (count, 3, 32, 32) and their labels. Raises UserError for a damaged file."""
    check_split(split)
    parts = {"train": ["train"], "test": ["test"], "all": ["train", "test"]}[split]
    files = [file for part in parts for file in sorted(folder.glob(f"cifar10_{part}*.xz"))]
    held = arrays_of(folder / "labels.npz")
    if missing := [part for part in parts if part not in held]:
        raise UserError(f"{folder / 'labels.npz'}: holds no labels of {missing[0]}, but {', '.join(held) or 'nothing'}")
    labels = np.concatenate([held[part] for part in parts])
    return from_array(np.concatenate([_unpacked(file) for file in files]), labels, NAMES, name="cifar10")


def _unpacked(file: Path) -> np.ndarray:
    """(count, 3, 32, 32) bytes of one file; pixel after pixel, all pictures at once."""
    try:
        packed = np.frombuffer(lzma.decompress(file.read_bytes()), np.uint8)
        added = packed.reshape(3, -1, SIDE, SIDE).transpose(2, 3, 0, 1).astype(np.int16)  # (row, column, ...)
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise UserError(f"{file}: damaged ({error})") from None
    whole = np.zeros((SIDE + 1, SIDE + 1, *added.shape[2:]), np.int16)  # a row and a column of zeros before the first
    for i in range(SIDE):
        for j in range(SIDE):
            left, above, corner = whole[i + 1, j], whole[i, j + 1], whole[i, j]
            if i == 0:
                guess = left
            elif j == 0:
                guess = above
            else:  # the median edge detector: all three of its cases
                guess = left + above - corner.clip(np.minimum(left, above), np.maximum(left, above))
            whole[i + 1, j + 1] = (added[i, j] + guess) & 255
    green, red, blue = whole[1:, 1:].transpose(2, 3, 0, 1)
    return np.stack([(red - 128 + green) & 255, green, (blue - 128 + green) & 255], 1).astype(np.uint8)
