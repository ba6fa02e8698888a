"""Large data is decoded once into a file that reads as memory does; what is wrong with the file is said."""

import os
import shutil
import zlib

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from undiffuse.core import on_disk
from undiffuse.core.errors import Caution, UserError
from undiffuse.core.on_disk import OnDisk, checksum, checksum_of_rows, typical
from undiffuse.data.readers import pictures as reader
from undiffuse.data.readers.array import arrays_of
from undiffuse.data.readers.open import open_data
from undiffuse.train.batches import Batches

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """24 pictures of two labels; caches lie beside."""
    dice = np.random.default_rng(0)
    for k in range(24):
        path = tmp_path / "mine" / ("cat", "dog")[k % 2] / f"{k:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (6, 8, 3), np.uint8)).save(path)
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))
    return tmp_path / "mine"


@pytest.fixture
def on_large(monkeypatch):
    """From now on, all data is large."""

    def begin():
        monkeypatch.setattr("undiffuse.data.cache.LARGE", 100)
        monkeypatch.setattr("undiffuse.data.cache.MANY", 1)

    return begin


@pytest.fixture
def opened(monkeypatch):
    """The names of the pictures that are opened, for their header or to decode them."""
    names = []
    for function in ("decode_picture", "header"):
        before = getattr(reader, function)
        monkeypatch.setattr(reader, function, lambda *of, before=before: names.append(of[0]) or before(*of))
    return names


def rows_file(tmp_path):
    return next((tmp_path / "caches").glob("*/rows"))


def test_rows_on_disk_are_those_in_memory(folder, on_large, monkeypatch):
    in_memory = {split: open_data(folder, split=split) for split in ("train", "test")}
    on_large()
    for split, expected in in_memory.items():
        found = open_data(folder, split=split)
        assert type(found.x) is OnDisk and type(expected.x) is torch.Tensor
        assert torch.equal(found.x, expected.x) and torch.equal(found.labels, expected.labels)
        assert checksum(found.x) == checksum(expected.x) == zlib.crc32(expected.x.numpy().tobytes())
        for step in (0, 3):
            (x, conditions), (also, others) = (Batches(data, 5, 7, CPU)(step) for data in (found, expected))
            assert type(x) is torch.Tensor and torch.equal(x, also)
            assert torch.equal(conditions.entries["label"].values, others.entries["label"].values)
    monkeypatch.setattr(on_disk, "NUMBERS", 8 * 144)
    some = found.typical()
    assert len(some) == 2 and torch.equal(some.x, found.x[:2]) and expected.typical() is expected
    both = open_data(folder, split="all")
    assert len(both.typical()) == 8 and torch.equal(both.typical().labels, both.labels[::3])
    assert len(both) == 24 and checksum(both.x) == zlib.crc32(both.x.numpy().tobytes())


def test_the_second_time_no_picture_is_opened(folder, on_large, opened):
    on_large()
    open_data(folder)
    assert len(opened) == 48
    reader._read_headers.cache_clear()
    assert type(open_data(folder, split="test").x) is OnDisk
    assert len(opened) == 48


def test_a_split_of_its_own_is_kept(folder, on_large):
    folder = folder.rename(folder.with_name("train"))
    (folder.parent / "whole").mkdir()
    shutil.copytree(folder / "cat", folder.parent / "whole" / "test" / "cat")
    folder.rename(folder.parent / "whole" / "train")
    whole = folder.parent / "whole"
    expected = {split: open_data(whole, split=split) for split in ("train", "test")}
    on_large()
    for split, data in expected.items():
        assert torch.equal(open_data(whole, split=split).x, data.x)


def test_pictures_that_changed_are_decoded_again(folder, on_large, tmp_path):
    on_large()
    before = open_data(folder, split="all")
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "cat" / "00.png")
    with pytest.warns(Caution, match="the files have changed since this cache was made"):
        after = open_data(folder, split="all")
    assert (before.x != after.x).flatten(1).any(1).sum() == 1  # and what was open before is as it was
    assert len(list((tmp_path / "caches").glob("*/rows"))) == 1


@pytest.mark.parametrize("damage", ["cut off", "no index", "another index", "gone"])
def test_a_damaged_cache_is_said_and_made_anew(folder, on_large, tmp_path, damage):
    on_large()
    expected = open_data(folder).x.clone()
    rows = rows_file(tmp_path)
    if damage == "cut off":
        os.truncate(rows, rows.stat().st_size - 1)
    elif damage == "gone":
        rows.unlink()
    else:
        whole = (rows.parent / "index.json").read_text()
        (rows.parent / "index.json").write_text(whole[:20] if damage == "no index" else whole.replace("uint8", "load"))
    with pytest.warns(Caution, match="damaged"):
        assert torch.equal(open_data(folder).x, expected)
    assert torch.equal(open_data(folder).x, expected)


def test_a_cache_that_cannot_be_written(folder, on_large, tmp_path, monkeypatch):
    on_large()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"no cache can be written there .*UNDIFFUSE_CACHE=FOLDER"):
        open_data(folder)
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(UserError, match=r"the cache would take .* and 5e-06 MB is free"):
        open_data(folder)
    assert not list((tmp_path / "caches").glob("*/rows"))


def test_broken_pictures_are_refused_by_name_or_left_out(folder, on_large, tmp_path):
    whole = open_data(folder, split="all")
    on_large()
    bad = folder / "cat" / "04.png"
    bad.write_bytes(bad.read_bytes()[:150])  # its header is whole
    for _ in range(2):  # also when it is read from the cache
        with pytest.raises(UserError, match=r"1 of 24 pictures cannot be read, the first is .*04.png \(.*truncated"):
            open_data(folder)
    data = open_data(folder, split="all", skip_unreadable=True)
    assert len(data) == 23 and "1 of 24 pictures cannot be read" in " ".join(data.notes)
    rows = {row.numpy().tobytes() for row in whole.x} - {row.numpy().tobytes() for row in data.x}
    assert rows == {whole.x[2].numpy().tobytes()}
    assert checksum(data.x) == zlib.crc32(data.x.numpy().tobytes())
    parts = [open_data(folder, split=split, skip_unreadable=True) for split in ("train", "test")]
    assert torch.equal(torch.cat([part.x for part in parts]), data.x)
    assert torch.equal(torch.cat([part.labels for part in parts]), data.labels)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("layout", [(3, 4, 5), (4, 5, 3), (7,)], ids=["channels first", "channels last", "points"])
def test_large_arrays_are_read_where_they_lie(tmp_path, monkeypatch, on_large, ending, layout):
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))
    dice, path = np.random.default_rng(0), tmp_path / f"mine{ending}"
    x = dice.integers(0, 256, (40, *layout), np.uint8) if layout[1:] else dice.random((40, *layout), np.float32)
    np.save(path, x) if ending == ".npy" else np.savez(path, y=np.arange(40) % 2, x=x)
    in_memory = {split: open_data(path, split=split) for split in ("train", "test", "all")}
    on_large()
    for split, expected in in_memory.items():
        found = open_data(path, split=split)
        assert torch.equal(found.x, expected.x) and checksum(found.x) == checksum(expected.x)
        assert expected.labels is None or torch.equal(found.labels, expected.labels)
        assert (type(found.x) is OnDisk) == (split != "all")
    assert isinstance(arrays_of(path)["x"], np.memmap)


def test_memory_stays_flat(tmp_path, monkeypatch):
    monkeypatch.setattr(on_disk, "KEPT", 1 << 22)
    with (tmp_path / "rows").open("wb") as file:
        file.truncate(64 << 20)
    x = OnDisk.open(tmp_path / "rows", torch.uint8, (64, 1 << 20), slice(0, 64), 0)
    before = psutil.Process().memory_info().rss
    for row in range(64):
        x.take(torch.tensor([row]))
    assert psutil.Process().memory_info().rss - before < 24 << 20
    monkeypatch.setattr(on_disk, "NUMBERS", 8 << 20)
    assert typical(x).shape == (8, 1 << 20) and typical(x[:16]).shape == (16, 1 << 20)  # all that lie in memory


def test_memory_stays_flat_while_short_rows_are_read(tmp_path, monkeypatch):
    """Around each of them the system maps much more than the row."""
    monkeypatch.setattr(on_disk, "KEPT", 1 << 23)
    with (tmp_path / "rows").open("wb") as file:
        file.write(bytes(64 << 20))
    x = OnDisk.open(tmp_path / "rows", torch.uint8, (64 << 20,), slice(None), 0).pieces(8, 4)
    before = psutil.Process().memory_info().rss
    for row in range(0, len(x), len(x) // 1024):
        x.take(torch.tensor([row]))
    assert psutil.Process().memory_info().rss - before < 16 << 20


@pytest.mark.parametrize("size", [1, 7, 3072])
def test_the_checksum_of_rows_is_that_of_all_of_them(size):
    dice = np.random.default_rng(size)
    rows = [dice.bytes(size) for _ in range(50)]
    assert checksum_of_rows([zlib.crc32(row) for row in rows], size) == zlib.crc32(b"".join(rows))
    assert checksum_of_rows([], size) == 0
