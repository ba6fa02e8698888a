"""What is saved can be read back, by the ending."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.core.errors import UserError
from undiffuse.draw.save import Rows, check_writable
from undiffuse.kind.pictures import PicturesKind
from undiffuse.kind.points import PointsKind

POINTS = Rows(torch.randn(6, 2), torch.tensor([0, 1, -1, 0, 1, 1]), ("left", "right"), ("x", "y"))
PICTURES = Rows(torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8))


BOTH = [(PointsKind(), POINTS), (PicturesKind(), PICTURES)]


@pytest.mark.parametrize(("kind", "rows"), BOTH, ids=["points", "pictures"])
def test_arrays_come_back_as_they_were(tmp_path, kind, rows):
    kind.save(rows, tmp_path / "x.npy")
    kind.save(rows, tmp_path / "x.npz")
    assert (np.load(tmp_path / "x.npy", allow_pickle=False) == rows.x.numpy()).all()
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert (arrays["x"] == rows.x.numpy()).all()
        assert arrays["x"].dtype == rows.x.numpy().dtype
        assert ("labels" in arrays) == (rows.labels is not None)


def test_labels_and_their_names_travel_with_npz(tmp_path):
    PointsKind().save(POINTS, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["labels"].tolist() == POINTS.labels.tolist()
        assert arrays["label_names"].tolist() == ["left", "right"]


def test_csv_has_names_and_every_digit(tmp_path):
    PointsKind().save(POINTS, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        header, *table = csv.reader(file)
    assert header == ["x", "y", "label"]
    back = torch.tensor([[float(value) for value in row[:2]] for row in table])
    assert torch.equal(back, POINTS.x)
    assert [row[2] for row in table] == ["left", "right", "", "left", "right", "right"]


@pytest.mark.parametrize(("kind", "rows"), BOTH, ids=["points", "pictures"])
def test_png_opens(tmp_path, kind, rows):
    kind.save(rows, tmp_path / "x.PNG")
    with Image.open(tmp_path / "x.PNG") as picture:
        assert min(picture.size) > 100
        picture.load()


def test_pictures_are_no_table(tmp_path):
    with pytest.raises(UserError, match=r"\.png, \.npy or \.npz"):
        PicturesKind().save(PICTURES, tmp_path / "x.csv")


def test_paths_are_checked_before_the_work(tmp_path):
    (tmp_path / "there.png").touch()
    endings = PointsKind().writers
    for name, message in [
        ("there.png", "--force"),
        ("x.pgn", "did you mean .png"),
        ("x", "no ending; known: .png"),
        ("nowhere/x.png", "no folder"),
        ("", "ending"),
    ]:
        with pytest.raises(UserError, match=message):
            check_writable(tmp_path / name, endings)
    assert check_writable(tmp_path / "there.png", endings, force=True) == tmp_path / "there.png"
