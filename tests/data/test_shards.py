"""WebDataset shards are the pictures, labels and captions that lie in them; what is missing or damaged is said."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.core.errors import UserError
from undiffuse.data.readers import shards as reader
from undiffuse.data.readers.open import open_data
from undiffuse.recipes.own import own_data
from undiffuse.train.batches import Batches


def png(k, size=(10, 8)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(k).integers(0, 256, (*size, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, files):
    with tarfile.open(path, "w") as archive:
        for name, held in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(held)
            archive.addfile(member, io.BytesIO(held))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four shards of six pictures, with labels and, for some, captions."""
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))
    (tmp_path / "mine").mkdir()
    for number in range(4):
        files = {}
        for k in range(6 * number, 6 * number + 6):
            beside = (
                {".cls": str(k % 2 * 10).encode()} if k < 12 else {".json": json.dumps({"label": k % 2 * 10}).encode()}
            )
            files |= {f"deep.er/{k:03d}{ending}": held for ending, held in {".png": png(k), **beside}.items()}
        shard(tmp_path / "mine" / f"photos-{number:04d}.tar", files)
    return tmp_path / "mine"


def test_they_are_the_pictures_of_a_folder(folder, tmp_path):
    for k in range(24):
        path = tmp_path / "loose" / f"{k % 2 * 10:02d}" / f"{k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(k))
    for size in (None, (4, 6)):
        loose, found = open_data(tmp_path / "loose", size, "all"), open_data(folder, size, "all")
        key = {row.numpy().tobytes(): int(label) for row, label in zip(loose.x, loose.labels, strict=True)}
        assert {row.numpy().tobytes(): int(label) for row, label in zip(found.x, found.labels, strict=True)} == key
    assert found.label_names == ("0", "10")
    train, test = (open_data(folder, split=split) for split in ("train", "test"))
    assert len(train) == 22 and len(test) == 2 and set(test.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("pattern", ["photos-{0000..0003}.tar", "photos-*.tar"])
def test_a_pattern_is_the_folder(folder, pattern):
    whole, found = open_data(folder), open_data(folder / pattern)
    for step in (0, 7):
        x, other = (Batches(data, 5, 3, torch.device("cpu"))(step)[0] for data in (whole, found))
        assert torch.equal(x, other)
    assert len(open_data(folder / "photos-0001.tar", split="all")) == 6
    assert own_data(folder / pattern).data.path == str(folder / pattern)


def test_the_second_time_no_shard_is_read(folder, monkeypatch):
    first = open_data(folder)
    monkeypatch.setattr(reader, "_of_shard", None)
    monkeypatch.setattr(reader, "_read", None)
    assert torch.equal(open_data(folder).x, first.x)


def order_of(data):
    """Which picture each row is."""
    every = [torch.from_numpy(np.array(Image.open(io.BytesIO(png(k))))).permute(2, 0, 1) for k in range(6)]
    return [next(k for k, picture in enumerate(every) if torch.equal(row, picture)) for row in data.x]


def test_captions_are_conditions(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))
    says = {0: "a red cat", 1: "a blue dog", 2: "a red dog"}
    files = {f"{k}.png": png(k) for k in range(6)} | {f"{k}.txt": text.encode() for k, text in says.items()}
    shard(tmp_path / "a.tar", dict(sorted(files.items())))
    data = open_data(tmp_path / "a.tar", split="all")
    of, entry = data.specifications["text"], data.conditions.entries["text"]
    assert {k: of.say(row) for k, (row, present) in enumerate(zip(*entry, strict=True)) if present} == {
        row: says[k] for row, k in enumerate(order_of(data)) if k in says
    }


def damage_a_picture(folder):
    shard(folder / "photos-0002.tar", {"012.png": b"no picture", **{f"{k:03d}.png": png(k) for k in range(13, 18)}})


def cut_off(folder, size):
    path = folder / "photos-0002.tar"
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "said", "left"),
    [
        (
            lambda folder: (folder / "photos-0002.tar").unlink(),
            "1 shards are missing, the first is photos-0002.tar",
            18,
        ),
        (damage_a_picture, r"1 of 24 pictures cannot be read, the first is photos-0002.tar/012 \(not a picture", 23),
        (lambda folder: cut_off(folder, 3500), r"photos-0002.tar/its end \(the shard is cut off\)", 20),
        (lambda folder: cut_off(folder, 2048), r"photos-0002.tar/its end \(the shard is cut off\)", 19),
    ],
)
def test_what_is_missing_or_damaged_is_said_or_left_out(folder, damage, said, left):
    damage(folder)
    with pytest.raises(UserError, match=f"{said}.*--data.skip-unreadable true"):
        open_data(folder)
    data = open_data(folder, split="all", skip_unreadable=True)
    assert len(data) == left and any("left out" in note for note in data.notes)


def test_what_is_no_shard_is_said(folder, tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"text" * 300)
    with pytest.raises(UserError, match=r"not a \.tar file"):
        open_data(tmp_path / "bad.tar")
    shard(tmp_path / "empty.tar", {"a.txt": b"words"})
    with pytest.raises(UserError, match="no pictures in its"):
        open_data(tmp_path / "empty.tar")
    with pytest.raises(UserError, match=r"\{0010..0011\}.tar: no shards there"):
        open_data(folder / "photos-{0010..0011}.tar")
    (folder / "loose.png").write_bytes(png(0))
    with pytest.raises(UserError, match="holds pictures beside"):
        open_data(folder)
