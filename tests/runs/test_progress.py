"""The bar says the loss, and the error at little, some and much noise."""

import json

import pytest

from undiffuse.net import MLP
from undiffuse.recipes import RECIPES
from undiffuse.train.held_out import low_middle_high
from undiffuse.train.loop import train
from undiffuse.train.progress import Watch


@pytest.fixture
def described(monkeypatch):
    """What the bar says, each time that it says something new."""
    said = []
    describe = Watch._describe

    def describing(self):
        describe(self)
        said.append(self._bar.tasks[0].description)

    monkeypatch.setattr(Watch, "_describe", describing)
    return said


def test_the_bar_says_the_error_by_noise_level(described, tmp_path):
    recipe = RECIPES["swiss-roll"]().changed(steps=4, report_every=2, batch=8, net=MLP(width=8), count=40)
    train(recipe, tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    reports = [low_middle_high(line) for line in lines if low_middle_high(line)]
    assert len(reports) == 2
    last = next(line for line in reversed(lines) if low_middle_high(line))
    errors = [last[f"held-out error at noise {level}"] for level in ("0.05", "0.5", "5")]
    assert reports[1] == "error {:.2g} {:.2g} {:.2g} at noise 0.05 0.5 5".format(*errors)
    assert described[-1].startswith("loss ") and described[-1].endswith(f", {reports[1]}")


def test_a_model_without_such_errors_says_its_loss():
    watch = Watch(10, 0, quiet=True)
    watch.levels(low_middle_high({"step": 2, "loss": 0.5}))
    watch.loss(0.25)
    assert watch._bar.tasks[0].description == "loss 0.2500"
