"""Data sets by their names: the real files, packed ones, and what is said when they are not there."""

import hashlib
import lzma
import os

import numpy as np
import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.readers.planes import NAMES, planes
from undiffuse.data.readers.well_known import FASHION, known

needs_data = pytest.mark.skipif(not os.environ.get("UNDIFFUSE_TEST_DATA"), reason="UNDIFFUSE_TEST_DATA is not set")


@needs_data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_sixty_thousand_to_train_and_ten_thousand_to_test(name):
    train, test = known(name), known(name, split="test")
    assert train.shape == test.shape == (1, 28, 28) and (len(train), len(test)) == (60_000, 10_000)
    assert train.label_names == (FASHION if name == "fashion-mnist" else tuple("0123456789"))
    assert torch.bincount(test.labels).min() > 800


@needs_data
def test_the_packed_photographs_are_the_published_ones():
    test = known("cifar10", split="test")
    pixels = test.x.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    digest = "9b94c39138e2d95fe72f2092a5038e918911d9a2715da6f9470f8cc4545d7d4"  # as its SOURCE.md has it
    assert hashlib.sha256(pixels).hexdigest()[:16] == digest[:16] and test.label_names == NAMES


def test_any_picture_survives_packing(tmp_path):
    """Packed here by the definition, pixel by pixel; unpacked by the reader."""
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    red, green, blue = x.astype(int).transpose(1, 0, 2, 3)
    packed = np.stack([packed_plane(plane) for plane in (green, (red - green + 128) % 256, (blue - green + 128) % 256)])
    for part in ("train_1", "test"):
        (tmp_path / f"cifar10_{part}.xz").write_bytes(lzma.compress(packed.astype(np.uint8).tobytes()))
    np.savez(tmp_path / "labels.npz", train=np.array([0, 1], np.uint8), test=np.array([0, 1], np.uint8))
    assert np.array_equal(known("cifar10", str(tmp_path)).x.numpy(), x)
    (tmp_path / "cifar10_test.xz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cifar10_test.xz: damaged"):
        known("cifar10", str(tmp_path), "test")


def packed_plane(plane: np.ndarray) -> np.ndarray:
    added = np.zeros_like(plane)
    for k, i, j in np.ndindex(plane.shape):
        a = plane[k, i, j - 1] if j else 0
        b = plane[k, i - 1, j] if i else 0
        c = plane[k, i - 1, j - 1] if i and j else 0
        a, b, c = (a, a, a) if i == 0 else (b, b, b) if j == 0 else (a, b, c)
        guess = min(a, b) if c >= max(a, b) else max(a, b) if c <= min(a, b) else a + b - c
        added[k, i, j] = (plane[k, i, j] - guess) % 256
    return added


def test_what_is_not_there_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("UNDIFFUSE_TEST_DATA", raising=False)
    monkeypatch.setenv("UNDIFFUSE_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"fashion_mnist is missing: get train-images-idx3-ubyte.gz.*zalando"):
        known("fashion-mnist")
    with pytest.raises(UserError, match="did you mean mnist"):
        known("mnits")
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "data_batch_1").write_bytes(b"pickle")
    with pytest.raises(UserError, match="pickled form, which could run any program"):
        known("cifar10")


def test_labels_of_the_packed_form_that_are_damaged_are_named(tmp_path):
    (tmp_path / "cifar10_train_1.xz").write_bytes(b"")
    np.savez(tmp_path / "labels.npz", train=np.zeros(3, np.uint8))
    with pytest.raises(UserError, match=r"labels.npz: holds no labels of test, but train"):
        planes(tmp_path, split="test")
    (tmp_path / "labels.npz").write_bytes((tmp_path / "labels.npz").read_bytes()[:100])
    with pytest.raises(UserError, match=r"labels.npz: truncated"):
        planes(tmp_path)
