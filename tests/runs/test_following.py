"""What is written beside a run while it is trained, and that it changes nothing of the run."""

import json

import pytest
from accelerate import tracking

from undiffuse.core.errors import UserError
from undiffuse.recipes import RECIPES
from undiffuse.train.following import Following
from undiffuse.train.log import lines
from undiffuse.train.loop import train

SHORT = RECIPES["swiss-roll"]().changed(width=8, depth=1, batch=16, steps=60, report_every=60)


class Kept(tracking.GeneralTracker):
    """A tracker that keeps what it gets."""

    name, requires_logging_directory, kept = "mlflow", False, []

    def __init__(self, project, run_name):
        super().__init__()
        self.kept.append(("named", project, run_name))

    tracker = None

    def start(self):
        self.kept.append(("started",))

    def store_init_configuration(self, values):
        self.kept.append(("recipe", values))

    def log(self, values, step=None):
        self.kept.append(("log", step, values))

    def log_images(self, values, step=None):
        self.kept.append(("picture", step, list(values)))

    def finish(self):
        self.kept.append(("finished",))


def test_a_tracker_gets_the_recipe_and_what_the_log_gets(tmp_path, monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Kept)
    monkeypatch.setattr(tracking, "_available_trackers", [tracking.LoggerType.MLFLOW])
    run = train(SHORT, tmp_path / "mine", quiet=True, following=Following(trackers=("mlflow", "tensorboard")))
    assert Kept.kept[0] == ("named", "undiffuse", "mine") and Kept.kept[-1] == ("finished",)
    (recipe,) = [values for what, *values in Kept.kept if what == "recipe"]
    assert recipe[0]["training.steps"] == "60"
    logged = [values for what, *values in Kept.kept if what == "log"]
    written = [
        (line["step"], {k: v for k, v in line.items() if k != "step"}) for line in lines(run.folder / "log.jsonl")
    ]
    assert [tuple(line) for line in logged] == written
    assert ("picture", 60, ["samples"]) in Kept.kept


def test_a_tracker_that_is_unknown_or_not_here_is_refused_before_anything():
    with pytest.raises(UserError, match="unknown tracker 'wandv'; did you mean wandb"):
        Following(trackers=("wandv",))
    with pytest.raises(UserError, match="the tracker comet_ml is not installed: pip install comet-ml"):
        Following(trackers=("comet_ml",))


def test_a_profile_says_where_the_time_goes_and_changes_no_step(tmp_path, capsys):
    run = train(SHORT, tmp_path / "profiled", quiet=True, following=Following(profile=True))
    plain = train(SHORT, tmp_path / "plain", quiet=True)
    table = (run.folder / "profile.txt").read_text().splitlines()
    shares = [float(line[49:].split("%")[0]) for line in table[1:]]
    assert 5 < len(shares) <= 20 and shares == sorted(shares, reverse=True) and 50 < sum(shares) <= 100.1
    assert any("addmm" in line for line in table)
    assert json.loads((run.folder / "profile.json").read_text())["traceEvents"]
    assert (run.folder / "log.jsonl").read_bytes() == (plain.folder / "log.jsonl").read_bytes()
