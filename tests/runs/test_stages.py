"""A run of stages: one folder, one model; trained, resumed, sampled, measured and moved as any other."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from killed import assert_same, one_thread  # noqa: F401  # a fixture
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.picture import Picture
from undiffuse.core.errors import UserError
from undiffuse.data.own import Files
from undiffuse.data.ready import Digits, Toy
from undiffuse.data.smaller import averaged
from undiffuse.data.source import Smaller
from undiffuse.net import MLP, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Below, Embeds, Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes.cascade import check_sizes
from undiffuse.sampling.sampling import Sampling
from undiffuse.train import budget
from undiffuse.train.budget import Measured, planned
from undiffuse.train.length import Clock
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state
from undiffuse.train.trainer import Trainer

NET = GaussianDiffusion(UNet(width=8, multiples=(1,), attention=0, embedding=8))
BRIEF = Training(steps=8, batch=4, warmup=1, save_every=4, report_every=100)
LOW = Recipe(Smaller(Digits(), 2), NET, training=BRIEF, sampling=Sampling(steps=2))
RECIPE = Recipe(
    Digits(), NET, training=BRIEF, sampling=Sampling(steps=2, low_noise=0.2), stages=(Below("low", LOW, noise=0.5),)
).changed(steps=12)


@pytest.fixture(scope="module")
def cascaded(tmp_path_factory):
    """Two stages, 4 x 4 and 8 x 8."""
    torch.set_num_threads(1)
    return train(RECIPE, tmp_path_factory.mktemp("stages") / "run", quiet=True)


def ended(folder, step, how, monkeypatch):
    """A training that ends after so many steps of one of its stages."""
    take_a_step = Trainer.step

    def ending(self):
        take_a_step(self)
        if self.done == step:
            how()

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", ending)
        with pytest.raises((RuntimeError, KeyboardInterrupt)) as found:
            train(RECIPE, folder, quiet=True)
    return str(found.value)


def cut_off():
    """Without a chance to write anything."""
    raise RuntimeError("gone")


@pytest.mark.parametrize(("step", "kept"), [(6, "stages/low"), (10, ".")])
def test_cut_off_in_any_stage_it_goes_on_bit_for_bit(cascaded, tmp_path, monkeypatch, step, kept):
    folder = tmp_path / "run"
    assert ended(folder, step, cut_off, monkeypatch) == "gone"
    assert load_state(folder / kept / "state").step == step - 2
    run = resume(folder, quiet=True)
    assert_same(run, cascaded)
    assert_same(run.stages["low"], cascaded.stages["low"])


def test_stopped_in_a_stage_it_says_which_run_to_resume(tmp_path, monkeypatch):
    said = ended(tmp_path / "run", 6, lambda: signal.raise_signal(signal.SIGTERM), monkeypatch)
    assert said.endswith(f"go on with: undiffuse resume {tmp_path / 'run'}")


def test_it_draws_what_its_stage_draws_alone_and_enlarges_that(cascaded):
    low = cascaded.stages["low"].sample(3, label="3", seed=5)
    exact = cascaded.sample(3, label="3", seed=5, low_noise=0)
    assert exact.equal(cascaded.sample(3, label="3", low=list(low), seed=5, low_noise=0))
    assert not exact.equal(cascaded.sample(3, label="3", seed=5, low_noise=0.5))
    assert exact[1:2].equal(cascaded.sample(1, label="3", seed=5, low_noise=0, first=1))


def test_its_samples_are_asked_for_labels_alone(cascaded):
    drawn = cascaded.draw(20, {"label": "3"})
    assert list(drawn.conditions.entries) == ["label"]
    assert cascaded.draw(2, {"low": torch.zeros(1, 4, 4)}).conditions.entries["low"].present.all()


def test_its_noise_is_independent_of_that_of_its_stage(cascaded):
    blank = torch.zeros(2000, 1)
    ours, theirs = cascaded.noise(0).normal(blank), cascaded.stages["low"].noise(0).normal(blank)
    assert abs(float((ours * theirs).mean())) < 0.1
    assert theirs.equal(undiffuse.core.noise.SeededNoise(0).normal(blank))


def test_its_data_is_told_the_rows_of_its_stage(cascaded):
    data = cascaded.dataset("test")
    low = data.conditions.entries["low"].values
    assert data.specifications["low"] == Picture((1, 4, 4), 0.5)
    torch.testing.assert_close(low[:, :1], averaged(data.x, 2) / 127.5 - 1)
    assert low[:, 1].eq(0).all()


def test_moved_it_is_the_same_and_without_a_stage_it_says_so(cascaded, tmp_path):
    shutil.copytree(cascaded.folder, tmp_path / "moved")
    moved = undiffuse.load(tmp_path / "moved")
    assert moved.sample(2).equal(cascaded.sample(2))
    shutil.rmtree(tmp_path / "moved" / "stages")
    alone = undiffuse.load(tmp_path / "moved")
    with pytest.raises(UserError, match="the stage that draws low is not there"):
        alone.sample(2)
    assert alone.sample(2, low=torch.zeros(1, 4, 4)).shape == (2, 1, 8, 8)
    shutil.copytree(cascaded.folder / "stages", tmp_path / "moved" / "stages")


def test_a_picture_is_enlarged_from_a_file(cascaded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((4, 4), 99, np.uint8)).save("low.png")
    Image.fromarray(np.full((5, 4), 99, np.uint8)).save("odd.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8) + np.array([9, 200, 9], np.uint8)).save("green.png")
    run = str(cascaded.folder)
    assert main(["sample", run, "--low", "low.png", "--label", "3", "--low-noise", "0.1", "--out", "x.npy"]) == 0
    assert np.load("x.npy").shape == (1, 1, 8, 8)
    out = capsys.readouterr().out
    assert "not trained for it" not in out
    for words, said in (
        (["--low", "odd.png"], "1 x 5 x 4 (channels, height, width), and this run enlarges pictures of 1 x 4 x 4"),
        (["--low", "green.png"], "in colour, and this run makes grey pictures"),
        (["--low", "low.png", "--by", "dps"], "leave --by out"),
        (["--low-noise", "0.7"], "goes up to 0.5"),
        (["--low-noise", "2"], "must be from 0 to 1"),
    ):
        assert main(["sample", run, *words, "--out", "y.npy"]) in (1, 2)
        assert said in capsys.readouterr().err


def test_fields_of_a_stage_are_named_by_it():
    recipe = RECIPE.overrides([("low.steps", "3"), ("steps", "5"), ("low.net.width", "16")])
    low = recipe.stages[0].recipe
    assert (recipe.training.steps, low.training.steps, low.model.net.width, recipe.model.net.width) == (5, 3, 16, 8)
    assert recipe.changed(**{"low.batch": 2}).stages[0].recipe.training.batch == 2
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert recipe.option_of(recipe.path_of("low.steps")) == "--low.steps"
    with pytest.raises(UserError, match="unknown field"):
        recipe.override("low.stepz", "3")


def test_other_data_is_the_data_of_all_stages():
    three = Recipe(Files("a"), NET, stages=(Below("low", RECIPE.changed(data=Smaller(Files("a"), 2))),))
    three = three.changed(**{"low.low.data": Smaller(Files("a"), 4)})
    other = three.changed(data=Files("b"))
    assert other == three.override("data.path", "b")
    below = other.stages[0].recipe
    assert (below.data, below.stages[0].recipe.data) == (Smaller(Files("b"), 2), Smaller(Files("b"), 4))


def test_the_data_of_a_stage_is_that_of_the_model_made_smaller():
    other = RECIPE.changed(data=Toy("moons"))
    assert other.stages[0].recipe.data == Smaller(Toy("moons"), 2)
    with pytest.raises(UserError, match="only pictures are made smaller"):
        other.stages[0].recipe.data.open()


def test_a_network_that_cannot_be_told_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UserError, match="an MLP takes no channels, which 'low' needs"):
        train(RECIPE.changed(net=MLP(width=8, depth=1)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_pictures_are_not_mirrored_without_what_they_are_told(tmp_path):
    with pytest.raises(UserError, match="flip changes pictures and not what their stages made"):
        train(RECIPE.changed(flip=True, **{"low.steps": 1}), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("sizes", [(16,), (64, 16), (16, 24), (2, 4), ()])
def test_sizes_that_are_no_cascade_are_refused(sizes):
    with pytest.raises(UserError, match="each a multiple of the one before"):
        check_sizes(sizes)


def test_a_cascade_of_ones_own_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    rng = np.random.default_rng(0)
    for k in range(60):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "mine" / f"{k}.png")
    brief = ["--steps", "2", "--batch", "4", "--save-every", "2", "--report-every", "2", "--warmup", "1"]
    small = ["--width", "8", "--low.width", "8", *(word.replace("--", "--low.") for word in brief)]
    words = ["train", "cascade", "--data", "mine", "--sizes", "8,16", *brief, *small, "--quiet", "--out", "run"]
    assert main(words) == 0, capsys.readouterr().err
    assert undiffuse.load("run").sample(1, steps=2).shape == (1, 3, 16, 16)
    capsys.readouterr()
    assert main(["runs", ".", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1  # one folder is one model
    assert main(["evaluate", "run", "-n", "6", "--steps", "2"]) == 0, capsys.readouterr().err
    assert main(["train", "cascade", "--sizes", "8,16"]) == 2
    assert "train FOLDER --sizes 16,64" in capsys.readouterr().err
    assert main(["train", "digits", "--sizes", "8,16"]) == 2
    assert "digits: a cascade is of a folder of pictures" in capsys.readouterr().err


def test_stages_share_the_minutes(tmp_path, monkeypatch):
    """Each is planned and stopped by a clock of its own; what is known only once a stage is trained, is refused."""
    monkeypatch.setattr(budget, "_measured", lambda recipe, data, clock: Measured(recipe, 1 / data.x[0].numel(), 1))
    three = replace(RECIPE, stages=(replace(RECIPE.stages[0], recipe=replace(RECIPE, stages=RECIPE.stages)),))
    recipe, said = planned(three, Clock(9), {"low.training.batch"})
    assert [line.partition(" minutes")[0] for line in said.splitlines()] == ["low: low: 3", "low: 3", "3"]
    assert recipe.stages[0].recipe.training.steps == pytest.approx(recipe.training.steps, rel=0.01)
    short, _ = planned(RECIPE, Clock(0.02))
    run = train(short, tmp_path / "run", quiet=True, clock=Clock(0.02))
    assert run.step >= 1 and run.stages["low"].step >= 1
    embeds = replace(RECIPE, stages=(Embeds("pair", LOW),))
    with pytest.raises(UserError, match="leave --minutes out"):
        planned(embeds, Clock(1))
