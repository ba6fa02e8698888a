"""Folders of pictures: any size, mode, orientation and layout, and what is said of the ones that are broken."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.cli.words import recipe_for
from undiffuse.core.errors import UserError
from undiffuse.data.readers.open import open_data
from undiffuse.data.readers.pictures import decode_picture, pictures

REAL = os.environ.get("UNDIFFUSE_TEST_DATA")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def fill(folder, count=3, shape=(6, 8, 3)):
    for k in range(count):
        save(folder / f"{k}.png", noise(*shape, seed=k))


def refuses(folder, *words, **arguments):
    with pytest.raises(UserError) as error:
        open_data(folder, **arguments)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# --- one picture


def decoded(tmp_path, picture, name="a.png", gray=False, **options):
    picture.save(tmp_path / name, **options)
    return decode_picture(tmp_path / name, picture.height, picture.width, gray)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(every * (255 / 65535))
    for name in ("a.png", "a.tif", "a.pgm"):
        assert np.array_equal(decoded(tmp_path, Image.fromarray(every), name, gray=True)[0], expected)
    big_endian = Image.frombytes("I;16B", (256, 256), every.astype(">u2").tobytes())
    assert np.array_equal(decoded(tmp_path, big_endian, "b.tif", gray=True)[0], expected)
    colour = decoded(tmp_path, Image.fromarray(every), gray=False)
    assert np.array_equal(colour, np.stack(3 * [expected]))


def test_thirty_two_bits_have_as_many_as_they_need(tmp_path):
    few = np.arange(200, dtype=np.int32).reshape(10, 20)
    assert np.array_equal(decoded(tmp_path, Image.fromarray(few), "a.tif", gray=True)[0], few)
    assert np.array_equal(decoded(tmp_path, Image.fromarray(257 * few), "b.tif", gray=True)[0], few)
    dark = Image.fromarray(few.astype(np.uint16))
    assert decoded(tmp_path, dark, "c.tif", gray=True).max() == 1  # of 16 bits, whatever they hold


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (0, 128, 255)
    values = decoded(tmp_path, Image.fromarray(rgba))
    assert values[:, 0, 0].tolist() == [255, 255, 255]
    assert values[:, 0, 1].tolist() == [round(255 - 128 / 255 * (255 - c)) for c in (200, 0, 0)]
    assert values[:, 0, 2].tolist() == [200, 0, 0]
    la = decoded(tmp_path, Image.fromarray(np.array([[[0, 0], [100, 255]]], np.uint8)), gray=True)
    assert la.tolist() == [[[255, 100]]]


def test_palettes(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    assert decoded(tmp_path, palette).transpose(1, 2, 0).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decoded(tmp_path, palette, transparency=0).transpose(1, 2, 0).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_cmyk_and_bits(tmp_path):
    inks = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0)]
    expected = [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0), (255, 255, 255)]
    for ink, colour in zip(inks, expected, strict=True):
        for name in ("a.jpg", "a.tif"):
            values = decoded(tmp_path, Image.new("CMYK", (8, 8), ink), name)
            assert np.abs(values.astype(int) - np.array(colour)[:, None, None]).max() <= 3
    bits = decoded(tmp_path, Image.fromarray(np.array([[True, False]])), gray=True)
    assert bits.tolist() == [[[255, 0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = noise(4, 6, 3)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        save(tmp_path / f"{name}.png", np.ascontiguousarray(stored), exif=exif)
    save(tmp_path / "c.png", noise(4, 6, 3, seed=1))
    data = pictures(tmp_path)
    assert data.shape == (3, 4, 6)
    assert np.array_equal(data.x[0].permute(1, 2, 0).numpy(), upright)


def test_the_centre_is_kept_and_small_detail_is_averaged(tmp_path):
    wide = np.zeros((16, 40), np.uint8)
    wide[:, 12:28] = 200  # the central square
    save(tmp_path / "a.png", wide)
    assert (decode_picture(tmp_path / "a.png", 16, 16, True) == 200).all()
    assert np.abs(decode_picture(tmp_path / "a.png", 4, 4, True).astype(int) - 200).max() <= 20
    chess = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    save(tmp_path / "b.png", chess)
    assert np.abs(decode_picture(tmp_path / "b.png", 8, 8, True).astype(int) - 127).max() <= 8


def test_a_large_jpeg_is_decoded_small_with_little_loss(tmp_path):
    smooth = Image.fromarray(noise(12, 9, 3)).resize((900, 1200), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.jpg", quality=95)
    smooth.save(tmp_path / "a.png")
    small, exact = (decode_picture(tmp_path / name, 48, 36, False).astype(int) for name in ("a.jpg", "a.png"))
    assert np.abs(small - exact).mean() < 1.5


# --- a folder


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5), (13, 1), (28, 28), (64, 33)])
def test_own_size_is_kept_where_it_is_shared(tmp_path, shape):
    fill(tmp_path, shape=(*shape, 3))
    data = pictures(tmp_path)
    assert data.shape == (3, *shape) and not data.notes
    assert np.array_equal(data.x[1].permute(1, 2, 0).numpy(), noise(*shape, 3, seed=1))


def test_default_size_of_unequal_and_of_large_pictures(tmp_path):
    for k, shape in enumerate([(20, 50), (30, 31), (200, 40)]):
        save(tmp_path / "unequal" / f"{k}.png", noise(*shape))
    data = pictures(tmp_path / "unequal")
    assert data.shape == (1, 24, 24)  # the shorter sides are 20, 30 and 40
    assert data.notes == ("pictures of 30 x 31 to 200 x 40: scaled and cropped to 24 x 24",)
    fill(tmp_path / "large", shape=(100, 150, 3))
    assert pictures(tmp_path / "large").shape == (3, 64, 64)
    assert pictures(tmp_path / "large", size=10).shape == (3, 10, 10)
    assert pictures(tmp_path / "large", size=(9, 170)).shape == (3, 9, 170)
    for size in (0, -3, (4, 0)):
        refuses(tmp_path / "large", "at least 1 pixel", size=size)


def test_gray_stays_gray_and_mixed_becomes_colour(tmp_path):
    save(tmp_path / "a.png", noise(4, 4))
    save(tmp_path / "b.png", noise(4, 4, 2))
    save(tmp_path / "c.png", noise(4, 4).astype(np.uint16) * 257)
    assert np.array_equal(pictures(tmp_path).x[0, 0].numpy(), pictures(tmp_path).x[2, 0].numpy())
    assert pictures(tmp_path).shape == (1, 4, 4)
    save(tmp_path / "d.png", noise(4, 4, 4))
    data = pictures(tmp_path)
    assert data.shape == (3, 4, 4)
    assert np.array_equal(data.x[0].numpy(), np.stack(3 * [noise(4, 4)]))


def test_sub_folders_are_labels(tmp_path):
    for label in ("10", "9", "1"):
        fill(tmp_path / label / "deeper", 4)
    fill(tmp_path / "9", 20)
    (tmp_path / "1" / "readme.txt").write_text("about")
    (tmp_path / "1" / ".hidden.png").write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_bytes(b"")
    data = pictures(tmp_path)
    assert data.label_names == ("1", "9", "10")
    assert data.labels.bincount().tolist() == [4, 24, 4]
    assert data.notes == ("1 files that are not pictures were ignored",)
    train, test = (open_data(tmp_path, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (29, 3)
    assert train.label_names == test.label_names


def test_one_sub_folder_is_no_label(tmp_path):
    fill(tmp_path / "all of them")
    assert pictures(tmp_path).labels is None


def test_split_folders(tmp_path):
    for label, count in (("cat", 3), ("dog", 2)):
        fill(tmp_path / "train" / label, count)
    fill(tmp_path / "val" / "dog", 2, shape=(6, 8))
    train, test, every = (open_data(tmp_path, split=split) for split in ("train", "test", "all"))
    assert [len(part) for part in (train, test, every)] == [5, 2, 7]
    assert train.label_names == test.label_names == ("cat", "dog")
    assert test.labels.tolist() == [1, 1]
    assert test.shape == train.shape == (3, 6, 8)
    fill(tmp_path / "plane")  # now train is a label among others
    assert pictures(tmp_path).label_names == ("plane", "train", "val")


@pytest.fixture
def decodings(monkeypatch):
    """The names of all files that are decoded."""
    names = []

    def decode(path, *form):
        names.append(path.name)
        return decode_picture(path, *form)

    monkeypatch.setattr("undiffuse.data.readers.pictures.decode_picture", decode)
    return names


@pytest.mark.parametrize("splits", [("",), ("train", "test")], ids=["one tenth held out", "a split of its own"])
def test_a_training_decodes_every_picture_once(tmp_path, decodings, splits):
    for split in splits:
        fill(tmp_path / split, 12)
    recipe_for(str(tmp_path)), open_data(tmp_path, split="train"), open_data(tmp_path, split="test")  # as `train` does
    assert sorted(decodings) == sorted(f"{k}.png" for _ in splits for k in range(12))


def test_a_file_that_changed_is_decoded_again(tmp_path, decodings):
    fill(tmp_path, 12)
    before = open_data(tmp_path, split="all")
    save(tmp_path / "0.png", noise(6, 8, 3, seed=99))
    after = open_data(tmp_path, split="all")
    assert len(decodings) == 24 and (before.x != after.x).flatten(1).any(1).nonzero().tolist() == [[0]]
    save(tmp_path / "new.png", noise(6, 8, 3, seed=100))
    os.remove(tmp_path / "1.png")
    last = open_data(tmp_path, split="all")
    assert len(last) == 12 and np.array_equal(last.x[-1].permute(1, 2, 0).numpy(), noise(6, 8, 3, seed=100))
    assert open_data(tmp_path, size=4, split="all").shape == (3, 4, 4)


def test_folders_that_are_refused(tmp_path):
    fill(tmp_path / "mixed")
    fill(tmp_path / "mixed" / "cat", 2)
    refuses(tmp_path / "mixed", "3 pictures lie beside sub-folders of pictures (cat)")
    (tmp_path / "none").mkdir()
    refuses(tmp_path / "none", "no files")
    (tmp_path / "none" / "a.csv").write_text("1,2")
    refuses(tmp_path / "none", "only .csv files")
    fill(tmp_path / "one", 1)
    refuses(tmp_path / "one", "only one row")
    for k in range(3):
        save(tmp_path / "same" / f"{k}.png", noise(4, 4))
    refuses(tmp_path / "same", "all 3 rows are the same")


def test_broken_pictures_are_named_or_left_out(tmp_path):
    fill(tmp_path, 12)
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "7.png").write_text("no picture")
    (tmp_path / "8.png").write_bytes(b"")
    refuses(tmp_path, "3 of 12 pictures cannot be read, the first is", "5.png", "truncated")
    (tmp_path / "5.png").write_bytes(whole)
    refuses(tmp_path, "2 of 12", "7.png (not a picture, whatever its name says)")
    data = open_data(tmp_path, split="all", skip_unreadable=True)
    assert len(data) == 10 and "2 of 12 pictures cannot be read" in data.notes[0]
    assert np.array_equal(data.x[-1].permute(1, 2, 0).numpy(), noise(6, 8, 3, seed=9))
    save(tmp_path / "8.tif", np.random.rand(6, 8).astype(np.float32))
    os.remove(tmp_path / "7.png")
    os.remove(tmp_path / "8.png")
    refuses(tmp_path, "1 of 11", "8.tif (its pixels are floating-point")


def test_a_folder_of_nothing_but_broken_pictures(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(b"\xff\xd8 and no more")
    refuses(tmp_path, "2 of 2 pictures cannot be read")
    refuses(tmp_path, "empty", skip_unreadable=True)


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.fromarray(noise(5, 5, seed=k)) for k in range(4)]
    for name in ("a.gif", "b.webp", "c.png"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "webp" in name else {})
        )
    save(tmp_path / "d.png", noise(5, 5, seed=9))
    data = pictures(tmp_path)
    assert data.notes == ("3 with several frames: the first is used",)
    for k in range(3):
        assert np.array_equal(data.x[k, 0].numpy(), noise(5, 5, seed=0))


@pytest.mark.skipif(REAL is None, reason="UNDIFFUSE_TEST_DATA is not set")
def test_real_flowers(tmp_path):
    with zipfile.ZipFile(Path(REAL) / "oxford17_flowers" / "oxford17_128.zip") as archive:
        for name in archive.namelist()[::14]:
            archive.extract(name, tmp_path)
    data = open_data(tmp_path, split="all")
    assert data.shape == (3, 64, 64) and len(data) > 90
    assert len(data.label_names) == 17 and data.label_names[0] == "00_daffodil"
    assert 80 < data.x.float().mean() < 120
    halves = torch.nn.functional.avg_pool2d(open_data(tmp_path, size=128, split="all").x.float(), 2)
    assert (halves - data.x).abs().mean() < 5  # the same pictures at half the size
