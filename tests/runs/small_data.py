"""A folder of data sets as `undiffuse.data.readers.place` wants it: in the published formats, few rows, random."""

from pathlib import Path

import numpy as np

LABELS = 10


def small_data(folder: Path, train: int = 600, test: int = 200) -> Path:
    """MNIST, Fashion-MNIST and letters as IDX files, CIFAR-10 as binary records, and a text."""
    generator = np.random.default_rng(0)
    for name in ("mnist", "fashion_mnist", "letters"):
        (folder / name).mkdir()
        for part, count in (("train", train), ("t10k", test)):
            pictures = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            _write_idx(folder / name / f"{part}-images-idx3-ubyte", pictures)
            _write_idx(folder / name / f"{part}-labels-idx1-ubyte", _labels(count))
    (folder / "cifar10").mkdir()
    for part, count in (("data_batch_1", train), ("test_batch", test)):
        pictures = generator.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        np.concatenate([_labels(count)[:, None], pictures], 1).tofile(folder / "cifar10" / f"{part}.bin")
    (folder / "text").mkdir()
    (folder / "text" / "tinyshakespeare.txt").write_text("To be, or not to be: that is the question.\n" * 400)
    return folder


def _labels(count: int) -> np.ndarray:
    return (np.arange(count) % LABELS).astype(np.uint8)


def _write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.tobytes())
