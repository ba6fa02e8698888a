"""A run on keyboards: what is reported of it."""

from functools import partial

import pytest

from undiffuse.data.ready import Piano
from undiffuse.kind import evaluate
from undiffuse.measure.judge import Judge
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recipe = RECIPES["piano"]().changed(
        data=Piano(200), net=SpaceToDepth(UNet(width=8), (8, 1), waves=2), steps=2, batch=8, sampling_steps=2
    )
    return train(recipe, tmp_path_factory.mktemp("piano") / "run", quiet=True)


def test_the_share_of_valid_keyboards_is_reported_beside_real_data_s(run, monkeypatch):
    monkeypatch.setattr(Judge, "train", partial(Judge.train, steps=2))  # it is not what is tested
    row = evaluate(run, count=20)["valid keyboards"]
    assert row.value == 0  # after two steps
    assert row.floor > 0.98
    assert row.better == "higher"


def test_a_key_is_asked_for_by_name(run):
    assert run.sample(2, label="F").shape == (2, 3, 24, 64)
    assert run.labels(2, label="F").tolist() == [3, 3]
