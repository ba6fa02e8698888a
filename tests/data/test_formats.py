"""MNIST's, CIFAR-10's and NumPy's formats, the bundled digits, and the choice among them by path."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.readers.array import from_array, index_labels
from undiffuse.data.readers.cifar import cifar
from undiffuse.data.readers.digits import digits
from undiffuse.data.readers.idx import idx, is_idx, read_idx
from undiffuse.data.readers.open import open_data

REAL = os.environ.get("UNDIFFUSE_TEST_DATA")
real_data = pytest.mark.skipif(REAL is None, reason="UNDIFFUSE_TEST_DATA is not set")
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path, array):
    path.write_bytes(gzip.compress(idx_bytes(array)) if path.suffix == ".gz" else idx_bytes(array))


def random_bytes(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def refuses(path, *words, **arguments):
    with pytest.raises(UserError) as error:
        open_data(path, **arguments)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# --- IDX


@real_data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_mnist(name):
    folder = Path(REAL) / name
    train, test = open_data(folder), open_data(folder, split="test")
    assert (train.x.shape, test.x.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert train.label_names == test.label_names == tuple("0123456789")
    if name == "mnist":
        digest = hashlib.sha256(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]).hexdigest()
        assert hashlib.sha256(train.x.numpy().tobytes()).hexdigest() == digest
        assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize("dtype", CODES)
def test_idx_of_every_type_and_dimension(tmp_path, dtype):
    for ndim in (1, 2, 3, 4):
        array = np.arange(np.prod(range(2, 2 + ndim))).reshape(range(2, 2 + ndim)).astype(dtype)
        write_idx(tmp_path / "a-idx", array)
        write_idx(tmp_path / "a.gz", array)
        for name in ("a-idx", "a.gz"):
            read = read_idx(tmp_path / name)
            assert read.dtype == array.dtype and np.array_equal(read, array)


@pytest.mark.parametrize(
    "names",
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
        (
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
            "test-images-idx3-ubyte",
            "test-labels-idx1-ubyte",
        ),
    ],
)
@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 5, 7), (5, 7, 3), (2, 5, 7), (4, 1, 9)])
def test_idx_folders_of_any_naming_and_channels(tmp_path, names, shape):
    for name, count in zip(names, (12, 12, 6, 6), strict=True):
        array = random_bytes(count, *shape) if "images" in name else np.arange(count, dtype=np.uint8) % 3
        write_idx(tmp_path / name, array)
    train, test, every = (open_data(tmp_path, split=split) for split in ("train", "test", "all"))
    assert [len(part) for part in (train, test, every)] == [12, 6, 18]
    expected = {(5, 7): (1, 5, 7), (5, 7, 3): (3, 5, 7)}.get(shape, shape)
    assert train.shape == test.shape == expected
    assert test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    first = random_bytes(12, *shape)[0]
    assert np.array_equal(
        train.x[0].numpy(), first.transpose(2, 0, 1) if shape == (5, 7, 3) else first.reshape(expected)
    )


def test_idx_without_test_or_labels(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", random_bytes(40, 3, 3))
    train, test = open_data(tmp_path), open_data(tmp_path, split="test")
    assert (len(train), len(test), train.labels) == (36, 4, None)


def test_emnist_is_turned_upright_and_named(tmp_path):
    upright = random_bytes(26, 6, 6)
    for part in ("train", "test"):
        write_idx(tmp_path / f"emnist-letters-{part}-images-idx3-ubyte.gz", upright.swapaxes(1, 2).copy())
    write_idx(tmp_path / "emnist-letters-train-labels-idx1-ubyte.gz", np.arange(1, 27, dtype=np.uint8))
    write_idx(tmp_path / "emnist-letters-test-labels-idx1-ubyte.gz", np.full(26, 3, dtype=np.uint8))
    (tmp_path / "emnist-letters-mapping.txt").write_text("".join(f"{k} {64 + k} {96 + k}\n" for k in range(1, 27)))
    train, test = open_data(tmp_path), open_data(tmp_path, split="test")
    assert np.array_equal(train.x[:, 0].numpy(), upright)
    assert train.labels.tolist() == list(range(26)) and test.labels.tolist() == [2] * 26
    assert train.label_names == test.label_names and train.label_names[:2] == ("Aa", "Bb")
    assert "upright" in train.notes[0]


def test_several_sets_in_one_folder(tmp_path):
    for name, count in (("emnist-digits", 20), ("emnist-letters", 30)):
        write_idx(tmp_path / f"{name}-train-images-idx3-ubyte", random_bytes(count, 2, 2))
        write_idx(tmp_path / f"{name}-test-images-idx3-ubyte", random_bytes(count, 2, 2))
    refuses(tmp_path, "holds 2 sets (emnist-digits, emnist-letters)")
    assert len(open_data(tmp_path / "emnist-letters-train-images-idx3-ubyte")) == 30


def test_damaged_idx(tmp_path):
    images, good = tmp_path / "train-images-idx3-ubyte", idx_bytes(random_bytes(10, 4, 4))
    for content, word in (
        (good[:-3], "truncated"),
        (good + b"\0", "too long"),
        (b"hello, world", "not an IDX file"),
        (b"", "not an IDX file"),
        (good[:9], "not an IDX file"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *3 * [2**32 - 1]), "truncated"),
        (idx_bytes(np.ones((4, 2, 2), "f4")), "uint8"),
        (idx_bytes(np.full((4, 2, 2), 300, "i2")), "uint8"),
    ):
        images.write_bytes(content)
        refuses(tmp_path, word)
    images.write_bytes(good)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(9, np.uint8))
    refuses(tmp_path, "one condition for each row")
    images.unlink()
    refuses(tmp_path, "no file of train pictures")
    zipped = tmp_path / "train-images-idx3-ubyte.gz"
    for content in (gzip.compress(good)[:-20], b"not gzip at all"):
        zipped.write_bytes(content)
        refuses(tmp_path, "damaged gzip file")


def test_names_of_idx_files():
    assert is_idx(Path("qmnist-train-images-idx3-ubyte.gz")) and is_idx(Path("t10k-labels.idx1-ubyte"))
    assert not is_idx(Path("train-images.zip")) and not is_idx(Path("train.csv"))


# --- CIFAR-10


def test_cifar_folder(tmp_path):
    records = random_bytes(30, 3073)
    records[:, 0] %= 10
    for k in (1, 2):
        records[10 * k - 10 : 10 * k].tofile(tmp_path / f"data_batch_{k}.bin")
    refuses(tmp_path, "test_batch.bin: missing", split="test")
    records[20:].tofile(tmp_path / "test_batch.bin")
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    train, test = open_data(tmp_path), open_data(tmp_path, split="test")
    assert (train.x.shape, len(test), len(cifar(tmp_path, "all"))) == ((20, 3, 32, 32), 10, 30)
    assert np.array_equal(test.x.numpy().reshape(10, -1), records[20:, 1:])
    assert test.labels.tolist() == records[20:, 0].tolist() and test.label_names == tuple("abcdefghij")
    (tmp_path / "data_batch_2.bin").write_bytes(b"\0" * 3000)
    refuses(tmp_path, "truncated or foreign")


# --- digits


def test_digits_are_split_once_and_for_all():
    train, test, every = (digits(split) for split in ("train", "test", "all"))
    assert (train.x.shape, test.x.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    assert test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 36, 37, 35, 35, 36]
    assert every.x.unique().tolist() == [round(ink * 255 / 16) for ink in range(17)]
    assert torch.equal(torch.cat([train.x, test.x]).flatten(1).double().sum(0), every.x.flatten(1).double().sum(0))
    assert hashlib.sha256(test.x.numpy().tobytes()).hexdigest()[:16] == "cf51d8246b18eaec"


# --- arrays


def test_arrays_of_every_form(tmp_path):
    path = tmp_path / "a.npy"
    for array, kind, shape in (
        (np.arange(20), "points", (1,)),
        (np.random.rand(20, 3), "points", (3,)),
        (random_bytes(20, 3), "points", (3,)),
        (random_bytes(20, 4, 5), "pictures", (1, 4, 5)),
        (random_bytes(20, 3, 5, 6), "pictures", (3, 5, 6)),
        (random_bytes(20, 5, 6, 3), "pictures", (3, 5, 6)),
        (random_bytes(20, 5, 6, 7), "pictures", (5, 6, 7)),
        (random_bytes(20, 6, 5).astype(np.int64), "pictures", (1, 6, 5)),
        (np.asfortranarray(np.random.rand(20, 3)).astype(">f8"), "points", (3,)),
    ):
        np.save(path, array)
        data = open_data(path, split="all")
        assert (data.kind, data.shape, len(data)) == (kind, shape, 20)
        if shape == (3,):
            assert np.array_equal(data.x.numpy(), array.astype(np.float32))


def test_bad_arrays(tmp_path):
    path = tmp_path / "a.npy"
    for array, word in (
        (np.array([{"a": 1}, None]), "not plain NumPy numbers"),
        (np.array(["a", "b"]), "plain numbers"),
        (np.ones((5, 2)) * 1j, "plain numbers"),
        (random_bytes(5, 1, 1, 1, 1), "2 dimensions"),
        (np.zeros((0, 2)), "empty"),
        (np.zeros((0, 4, 4), np.uint8), "empty"),
        (np.float64(3.0), "only one row"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "NaN"),
        (np.array([[1.0, 2.0], [1e300, 1.0]]), "infinite"),
        (np.ones((9, 2)), "the same"),
        (np.array([[1.0], [2.0], [3.0]]), "cannot hold out"),
    ):
        np.save(path, array, allow_pickle=True)
        refuses(path, word)
    for content in (b"", b"\x93NUMPY", b"hello", path.read_bytes()[:-8]):
        path.write_bytes(content)
        refuses(path, "truncated")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and no more")
    refuses(tmp_path / "a.npz", "truncated")


def test_npz(tmp_path):
    path, x, y = tmp_path / "a.npz", np.random.rand(40, 2), np.array(["b", "a", "b", "c"] * 10)
    np.savez(path, anything=x)
    assert torch.equal(open_data(path, split="all").x, torch.from_numpy(x).float())
    np.savez_compressed(path, x=x, y=y)
    data = open_data(path, split="all")
    assert data.label_names == ("a", "b", "c") and data.labels[:4].tolist() == [1, 0, 1, 2]
    np.savez(path, x=x, y=y[:5])
    refuses(path, "one condition for each row")
    np.savez(path, foo=x, bar=x)
    refuses(path, "holds foo, bar")


def test_label_names_are_in_the_order_that_people_count():
    labels, names = index_labels(np.array(["10", "9", "2", "9"]))
    assert (labels.tolist(), names) == ([2, 1, 0, 1], ("2", "9", "10"))
    labels, names = index_labels(np.array([5, -2]), known=np.array([5, -2, 3]))
    assert (labels.tolist(), names) == ([2, 0], ("-2", "3", "5"))
    assert from_array(np.random.rand(3, 2), np.array([True, False, True])).label_names == ("False", "True")


@pytest.mark.parametrize(
    ("told", "indices", "names"),
    [
        ([4, -1, 2], [1, -1, 0], ("2", "4")),
        ([10.0, np.nan, 9.0], [1, -1, 0], ("9", "10")),
        (["b", "", "a"], [1, -1, 0], ("a", "b")),
        ([1, -1, 1], [1, 0, 1], ("-1", "1")),
    ],
)
def test_labels_that_are_not_known_have_no_name(tmp_path, told, indices, names):
    np.savez(tmp_path / "a.npz", x=np.random.rand(30, 2), y=np.array(told * 10))
    data = open_data(tmp_path / "a.npz", split="all")
    assert data.labels[:3].tolist() == indices and data.label_names == names


@pytest.mark.parametrize("told", [np.nan, -1, ""])
def test_where_no_label_is_known_there_are_none(tmp_path, told):
    np.savez(tmp_path / "a.npz", x=np.random.rand(30, 2), y=np.full(30, told))
    for split in ("train", "test", "all"):
        data = open_data(tmp_path / "a.npz", split=split)
        assert data.labels is None and data.label_names == ()
    np.savez(tmp_path / "a.npz", x=np.random.rand(30, 2), y=np.stack([np.full(30, told), np.full(30, told)], 1))
    assert open_data(tmp_path / "a.npz").labels is None


def test_an_attribute_of_which_no_label_is_known_is_left_out():
    labels = np.array([[1, -1], [-1, -1], [2, -1]])
    data = from_array(np.random.rand(3, 2), labels, attributes=["digit", "colour"])
    assert data.label_names == {"digit": ("1", "2")} and data.labels.tolist() == [[0], [-1], [1]]


# --- what a path is


def test_paths_that_are_not_data(tmp_path):
    (tmp_path / "points.csv").write_text("1,2\n3,4\n")
    refuses(tmp_path / "point.csv", "did you mean points.csv")
    refuses(tmp_path / "nowhere" / "at all", "no such file or folder")
    for name, word in (("a.png", "one picture"), ("a.zip", "unpack"), ("a.tar.gz", "unpack"), ("a.doc", "a folder of")):
        (tmp_path / name).write_bytes(b"x")
        refuses(tmp_path / name, word)
    refuses(tmp_path / "points.csv", "a size is for folders of pictures", size=8)
    refuses(tmp_path / "points.csv", "unknown split", split="validate")
    (tmp_path / "mixed").mkdir()
    write_idx(tmp_path / "mixed" / "train-images-idx3-ubyte", random_bytes(5, 2, 2))
    (tmp_path / "mixed" / "a.jpg").write_bytes(b"")
    refuses(tmp_path / "mixed", "holds IDX files and pictures")
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", "no pictures in it, no files")


def test_idx_refuses_an_unknown_split(tmp_path):
    with pytest.raises(UserError, match="unknown split"):
        idx(tmp_path, "dev")
