"""Data that is damaged in one known way, and data that is not."""

import json

import numpy as np
import pytest
import torch

from undiffuse.condition.label import labelled
from undiffuse.data.dataset import Dataset
from undiffuse.doctor import diagnose_data


def normal(count=400, size=3, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def sides(count=400):
    """Labels that the first column shows."""
    return (normal(count)[:, 0] > 0).long()


def data(x, labels=None):
    conditions, specifications = labelled(labels)
    kind = "pictures" if x.ndim == 4 else "points"
    return Dataset(x, conditions, specifications, kind=kind)


def pictures(spread=60.0, count=300):
    """A gradient, to which each picture adds its own."""
    own = spread * normal(count, 36).view(count, 1, 6, 6)
    return (own + torch.linspace(60, 190, 36).view(1, 1, 6, 6)).clamp(0, 255).to(torch.uint8)


def with_column(column):
    x = normal()
    x[:, 1] = column
    return x


HEALTHY = {
    "numbers": data(normal()),
    "long tails": data(normal(size=2) * normal(size=2, seed=1).abs()),
    "whole numbers": data(normal().mul(1000).round()),
    "labels": data(normal(), sides()),
    "pictures": data(pictures()),
    "one column": data(normal(size=1)),
}
SICK = {
    "too few rows": data(normal(20)),
    "duplicates": data(torch.cat([normal(300), normal(300)[:100]])),
    "constant numbers": data(with_column(4.0)),
    "scales far apart": data(with_column(1e7 * normal(seed=1)[:, 0])),
    "far from zero": data(with_column(1.7e9 + 1000 * normal(seed=1)[:, 0])),
    "rows almost all alike": data(pictures(4.0)),
    "outliers": data(torch.cat([normal(), 40 * normal(2, seed=1)])),
    "labels are noise": data(normal(), torch.randint(3, (400,), generator=torch.Generator().manual_seed(1))),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_data(name):
    assert diagnose_data(HEALTHY[name], name).findings == ()


@pytest.mark.parametrize("cause", SICK)
def test_the_cause_is_named(cause):
    assert [one.cause for one in diagnose_data(SICK[cause], "data").findings] == [cause]


def test_outliers_are_named_by_their_row():
    (found,) = diagnose_data(SICK["outliers"], "data").findings
    assert "rows 401, 402" in found.meaning or "rows 402, 401" in found.meaning


def test_the_command(run, tmp_path):
    np.save(tmp_path / "mine.npy", SICK["constant numbers"].x.numpy())
    code, said, _ = run("doctor", "mine.npy")
    assert code == 0 and "constant numbers" in said and "undiffuse data mine.npy" in said
    found = json.loads(run("doctor", "mine.npy", "--json")[1])
    assert found["findings"][0]["number"] == pytest.approx(1 / 3) and "labels" in found["skipped"]


def test_a_text_is_asked_what_it_can_be_asked(run, tmp_path):
    (tmp_path / "book.txt").write_text("It was the best of times, it was the worst of times. " * 200)
    code, said, _ = run("doctor", "book.txt", "--json")
    found = json.loads(said)
    assert code == 0 and "not of a text" in found["skipped"]["copies"] and "number of rows" not in found["skipped"]
