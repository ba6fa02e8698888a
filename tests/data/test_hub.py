"""Pictures through `datasets`, with no hub: parquet files, saved folders, and what goes wrong."""

import weakref

import datasets
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.own import Files
from undiffuse.data.readers.hub import hub
from undiffuse.data.readers.open import open_data
from undiffuse.net import UNet
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train
from undiffuse.train.objective import mirrored


def made(count: int = 24, sizes: tuple[tuple[int, int], ...] = ((6, 5),), **columns) -> datasets.Dataset:
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (*sizes[k % len(sizes)], 3), dtype=np.uint8)) for k in range(count)
    ]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "caption": datasets.Value("string"),
        }
    )
    rows = {"image": pictures, "label": [k % 2 for k in range(count)], "caption": [f"number {k}" for k in range(count)]}
    return datasets.Dataset.from_dict(rows | columns, features=features)


def test_a_parquet_file(tmp_path):
    made().to_parquet(tmp_path / "pets.parquet")
    for data in (hub(str(tmp_path / "pets.parquet"), split="all"), open_data(tmp_path / "pets.parquet", split="all")):
        assert data.shape == (3, 6, 5) and data.label_names == ("cat", "dog") and len(data) == 24
        assert torch.equal(data.labels, torch.arange(24) % 2)
    original = np.asarray(made()[3]["image"]).transpose(2, 0, 1)
    assert np.array_equal(data.x[3].numpy(), original)


def test_a_folder_that_was_saved_with_its_own_test_split(tmp_path):
    datasets.DatasetDict({"train": made(10), "test": made(6)}).save_to_disk(tmp_path / "pets")
    assert [len(hub(str(tmp_path / "pets"), split=split)) for split in ("train", "test", "all")] == [10, 6, 16]


def test_sizes_are_asked_for_and_scaled(tmp_path):
    made(sizes=((6, 5), (9, 12))).to_parquet(tmp_path / "pets.parquet")
    with pytest.raises(UserError, match=r"pictures of 2 sizes, 6 x 5 to 9 x 12; give --data.size"):
        hub(str(tmp_path / "pets.parquet"))
    assert hub(str(tmp_path / "pets.parquet"), size=4).shape == (3, 4, 4)


def test_what_holds_no_pictures_says_what_it_holds(tmp_path):
    datasets.Dataset.from_dict({"a": [1, 2], "b": ["x", "y"]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(UserError, match="holds no pictures; it has the columns a, b"):
        hub(str(tmp_path / "table.parquet"))
    made().to_parquet(tmp_path / "pets.parquet")
    with pytest.raises(UserError, match="did you mean label"):
        hub(str(tmp_path / "pets.parquet"), label="lable")


def test_a_hub_that_cannot_be_reached_or_does_not_have_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"nobody/nothing: cannot be had .*; check its name on huggingface"):
        hub("nobody/nothing")
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad.parquet: cannot be had .*; is it a data set"):
        hub(str(tmp_path / "bad.parquet"))


def test_every_other_picture_is_mirrored():
    torch.manual_seed(0)
    x = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).expand(400, 1, 2, 3)
    turned = (mirrored(x, Stream()) != x).flatten(1).any(1)
    assert 150 < int(turned.sum()) < 250 and torch.equal(mirrored(x[:1], Stream()).sum(), x[:1].sum())


def test_flips_are_for_pictures(tmp_path):
    recipe = RECIPES["digits"]().changed(net=UNet(width=8, embedding=8), steps=2, batch=8, sampling_steps=1, flip=True)
    assert train(recipe, tmp_path / "run", quiet=True).step == 2
    assert Recipe.from_yaml(recipe.to_yaml()).training.flip
    with pytest.raises(UserError, match="leave --flip out"):
        train(RECIPES["moons"]().changed(flip=True), tmp_path / "points", quiet=True)


def splits(folder, train, test, **features) -> str:
    """A saved folder of two splits, each (pictures, labels)."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")} | features)
    made = {
        split: datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=features)
        for split, (pictures, labels) in {"train": train, "test": test}.items()
    }
    datasets.DatasetDict(made).save_to_disk(folder)
    return str(folder)


def shades(count: int, mode: str = "L", size: tuple[int, int] = (5, 4)) -> list[Image.Image]:
    return [Image.new("L", size, 20 * k).convert(mode) for k in range(count)]


def test_a_label_has_one_index_in_all_splits(tmp_path):
    path = splits(tmp_path, (shades(3), ["cat", "dog", "fox"]), (shades(2), ["cat", "fox"]))
    train_part, test_part = hub(path), hub(path, split="test")
    assert train_part.label_names == test_part.label_names == ("cat", "dog", "fox")
    assert test_part.labels.tolist() == [0, 2] and hub(path, split="all").labels.tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("feature", "told", "names", "indices"),
    [
        (datasets.Value("string"), ["cat", None, "dog"], ("cat", "dog"), [0, -1, 1]),
        (datasets.Value("int64"), [7, None, 12], ("7", "12"), [0, -1, 1]),
        (datasets.ClassLabel(names=["cat", "dog"]), [1, None, 0], ("cat", "dog"), [1, -1, 0]),
    ],
)
def test_a_missing_label_is_not_known(tmp_path, feature, told, names, indices):
    path = splits(tmp_path, (shades(3), told), (shades(2), told[:2]), label=feature)
    assert hub(path).label_names == names and hub(path).labels.tolist() == indices


def test_labels_of_which_none_is_known_are_no_labels(tmp_path):
    data = hub(splits(tmp_path, (shades(3), [None] * 3), (shades(2), [None] * 2)))
    assert data.labels is None and data.label_names == ()


def test_splits_agree_on_colour_and_size(tmp_path):
    path = splits(tmp_path / "a", (shades(3, "RGB"), ["a"] * 3), (shades(2), ["a"] * 2))
    assert hub(path).shape == hub(path, split="test").shape == (3, 4, 5)
    unequal = splits(tmp_path / "b", (shades(3), ["a"] * 3), (shades(2, size=(7, 7)), ["a"] * 2))
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"pictures of 2 sizes, 4 x 5 to 7 x 7; give --data.size"):
            hub(unequal, split=split)
        assert hub(unequal, size=(3, 6), split=split).shape == (1, 3, 6)
    with pytest.raises(UserError, match="a side is at least 1 pixel"):
        hub(unequal, size=0)


def test_gray_is_what_a_folder_of_pictures_calls_gray(tmp_path):
    assert hub(splits(tmp_path, (shades(3, "LA"), ["a"] * 3), (shades(2), ["a"] * 2))).shape == (1, 4, 5)


def test_a_missing_or_damaged_picture_is_named_by_its_row(tmp_path):
    one, two, three = shades(3)
    path = splits(tmp_path / "missing", ([one, two, three], ["a"] * 3), ([one, None], ["a"] * 2))
    with pytest.raises(UserError, match="row 2 of test has no picture in image"):
        hub(path, split="test")
    damaged = {"bytes": b"\x89PNG, but not for long", "path": None}
    path = splits(tmp_path / "damaged", ([one, two, damaged], ["a"] * 3), ([one, two], ["a"] * 2))
    with pytest.raises(UserError, match="the picture in row 3 of train cannot be read"):
        hub(path)


def test_a_parquet_file_of_many_sizes_takes_a_size(tmp_path):
    made(sizes=((6, 5), (9, 12))).to_parquet(tmp_path / "pets.parquet")
    assert Files(str(tmp_path / "pets.parquet"), size=8).open().shape == (3, 8, 8)


def test_pictures_are_scaled_one_by_one(tmp_path, monkeypatch):
    """At no time are two of them decoded."""
    made(6).save_to_disk(tmp_path / "pets")
    decoded = []
    load = ImageFile.ImageFile.load

    def counted(picture):
        decoded.append(weakref.ref(picture))
        assert len({id(one()) for one in decoded if one()}) <= 2  # the one before may not be forgotten yet
        return load(picture)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    assert len(hub(str(tmp_path / "pets"), size=3, split="all")) == 6 <= len(decoded)
