"""A model of data at hand, in one call from Python."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import undiffuse
from undiffuse.core.errors import UserError
from undiffuse.recipes import RECIPES

SHORT = {"steps": 2, "report_every": 2, "batch": 8}


def moons(count=40):
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def test_a_tensor_with_labels(tmp_path):
    x, y = moons()
    run = undiffuse.fit(x, tmp_path / "run", labels=y, changes=SHORT, quiet=True)
    assert run.sample(5, label=1).shape == (5, 2) and run.label_names == ("0", "1")
    assert len(run.dataset("train")) + len(run.dataset("test")) == 40
    with pytest.raises(UserError, match="is a run already"):
        undiffuse.fit(x, tmp_path / "run", changes=SHORT, quiet=True)
    with pytest.raises(UserError, match=r"kept.npz: is there already"):
        (tmp_path / "kept.npz").write_bytes(b"mine")
        undiffuse.fit(x, tmp_path / "kept", changes=SHORT, quiet=True)
    assert (tmp_path / "kept.npz").read_bytes() == b"mine"


def test_a_data_set_of_torch_and_one_of_pictures(tmp_path):
    run = undiffuse.fit(TensorDataset(*moons()), tmp_path / "torch", changes=SHORT, quiet=True)
    assert run.label_names == ("0", "1")
    pictures = [{"image": Image.new("RGB", (8, 8), (k, 0, 0)), "label": "ab"[k % 2]} for k in range(20)]
    run = undiffuse.fit(pictures, tmp_path / "faces", changes=SHORT | {"width": 16}, quiet=True)
    assert run.shape == (3, 8, 8) and run.label_names == ("a", "b")


def test_a_data_set_of_hugging_face_brings_its_names(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"x": datasets.Sequence(datasets.Value("float32")), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    x, y = moons()
    rows = datasets.Dataset.from_dict({"x": x.tolist(), "label": y.tolist()}, features=features)
    assert undiffuse.fit(rows, tmp_path / "run", changes=SHORT, quiet=True).label_names == ("no", "yes")


def test_minutes_are_kept_and_a_recipe_is_taken(tmp_path):
    run = undiffuse.fit(moons()[0].numpy(), tmp_path / "run", minutes=0.05, quiet=True)
    assert 0 < run.seconds < 30 and run.step == run.recipe.training.steps
    recipe = RECIPES["moons"]().changed(**SHORT)
    assert undiffuse.fit(recipe, tmp_path / "recipe", quiet=True).step == 2
    assert undiffuse.fit("moons", tmp_path / "named", changes=SHORT, quiet=True).step == 2


@pytest.mark.parametrize(
    "data, labels, said",
    [
        (np.zeros((4, 2)), [1, 2], "2 labels for 4 rows"),
        ("moons", [1], "labels belong to a tensor"),
        ([], None, "a data set has a length and rows"),
        (5, None, "a data set has a length and rows"),
        ([np.zeros(2), np.zeros(3)], None, "rows of 2 shapes"),
        ([np.zeros(2, np.uint8), np.zeros(2)], None, "rows of uint8 and of float64"),
        ([{"text": "a"}], None, "no column of image"),
        (np.array([{}, {}]), None, "rows and labels are numbers"),
    ],
)
def test_what_is_no_data_is_said(data, labels, said, tmp_path):
    with pytest.raises(UserError, match=said):
        undiffuse.fit(data, tmp_path / "run", labels=labels, quiet=True)
    assert list(tmp_path.iterdir()) == []
