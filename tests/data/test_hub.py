"""Pictures through `datasets`, with no hub: parquet files, saved folders, and what goes wrong."""

from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.data.hub import hub
from undiffuse.data.open import open_data
from undiffuse.errors import UserError
from undiffuse.net import UNet
from undiffuse.noise import Stream
from undiffuse.recipe import Recipe
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
    recipe = replace(RECIPES["digits"](), net=UNet(width=8, embedding=8), steps=2, batch=8, sampling_steps=1, flip=True)
    assert train(recipe, tmp_path / "run", quiet=True).step == 2
    assert Recipe.from_yaml(recipe.to_yaml()).flip
    with pytest.raises(UserError, match="leave --flip out"):
        train(replace(RECIPES["moons"](), flip=True), tmp_path / "points", quiet=True)
