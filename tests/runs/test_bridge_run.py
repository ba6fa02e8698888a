"""A bridge is a run of two data sets: trained, resumed, moved, sampled, and crossed both ways."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from undiffuse.cli import main
from undiffuse.core.errors import UserError
from undiffuse.data.own import Files
from undiffuse.data.ready import Digits, Toy
from undiffuse.data.source import Between, Only, StandardNormal
from undiffuse.net import MLP
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes import RECIPES
from undiffuse.recipes.bridges import METHODS, bridge, only
from undiffuse.recipes.digits import digits
from undiffuse.recipes.toys import toy
from undiffuse.run.folder import load
from undiffuse.run.translate import translate
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.batches import BothEnds
from undiffuse.train.loop import resume, train

SHORT = Training(steps=3, batch=16, warmup=1, save_every=2, report_every=3)
UNPAIRED = sorted(name for name, method in METHODS.items() if not method.paired)


def small(recipe: Recipe) -> Recipe:
    return recipe.changed(
        net=MLP(width=16, depth=1, waves=8, embedding=8),
        training=SHORT,
        sampling_steps=min(3, recipe.sampling.steps),
        kept=min(8, recipe.model.kept),
    )


def toys(method: str = "flow") -> Recipe:
    recipe = small(bridge(toy("swiss-roll"), toy("moons"), method))
    return recipe.changed(data=Between(Toy("swiss-roll", 100), Toy("moons", 120)))


@pytest.mark.parametrize("method", UNPAIRED)
def test_every_method_trains_and_crosses_both_ways(method, tmp_path):
    run = train(toys(method), tmp_path / "run", quiet=True)
    x = run.dataset("test").start.x[:7]
    there = translate(run, x)
    back = translate(run, there, back=True)
    assert there.shape == back.shape == x.shape and torch.cat([there, back]).isfinite().all()
    assert run.sample(5).shape == (5, 2)


def test_a_bridge_of_one_step_takes_no_more(tmp_path):
    run = train(toys("one-step-reflow"), tmp_path / "run", quiet=True)
    for back in (False, True):
        with pytest.raises(UserError, match="at most 1 evaluations"):
            translate(run, run.dataset("test").start.x[:3], back, Sampling("euler", 2, "trailing"))


def test_the_same_seed_gives_the_same_translation_whatever_the_batch(tmp_path, monkeypatch):
    run = train(toys("entropic"), tmp_path / "run", quiet=True)
    x = run.dataset("test").start.x[:9]
    whole = translate(run, x)
    monkeypatch.setattr("undiffuse.run.run.VALUES", {"cpu": 8, "cuda": 8})
    assert torch.allclose(translate(run, x), whole, atol=1e-5)


def test_a_run_samples_where_its_data_is_gone(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(50, 2)).astype(np.float32))
    recipe = toys().changed(data=Between(Files(str(tmp_path / "a.npy")), Files(str(tmp_path / "b.npy"))))
    train(recipe, tmp_path / "run", quiet=True)
    expected = load(tmp_path / "run").sample(4)
    for name in ("a", "b"):
        (tmp_path / f"{name}.npy").unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert torch.equal(load(tmp_path / "moved").sample(4), expected)


@pytest.mark.parametrize("method", ["optimal-transport", "schroedinger", "proportional"])
def test_a_bridge_resumes_bit_for_bit(method, tmp_path, monkeypatch):
    recipe = toys(method)
    whole = train(recipe, tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch, pytest.raises(UserError):
        patch.setattr("undiffuse.train.recorder.Recorder._write_log", refuse)
        train(recipe, tmp_path / "cut", quiet=True)
    again = resume(tmp_path / "cut", quiet=True)
    for one, other in zip(whole.denoiser.parameters(), again.denoiser.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(whole.sample(4), again.sample(4))


def refuse(*_):
    raise UserError("cut")


def test_either_end_may_be_noise(tmp_path):
    for start, end in ((StandardNormal(), toy("moons")), (toy("moons"), StandardNormal(count=200))):
        run = train(small(bridge(start, end)).changed(steps=2), tmp_path / type(start).__name__, quiet=True)
        assert translate(run, run.sample(3), back=True).shape == (3, 2)


def test_pictures_of_one_label_become_those_of_another(tmp_path):
    recipe = bridge(only(digits(), "3"), only(digits(), "8"), "optimal-transport")
    run = train(recipe.changed(training=SHORT, **{"net.width": 8, "net.embedding": 8}), tmp_path / "run", quiet=True)
    x = Only(Digits(), "3").open("test").x
    assert x.unique(dim=0).shape == x.shape and len(x) == int((Digits().open("test").labels == 3).sum())
    assert translate(run, x).dtype == torch.uint8 and translate(run, x).shape == x.shape


def test_pairs_stay_together_and_others_do_not():
    data = Between(Toy("swiss-roll", 50), Toy("swiss-roll", 50), paired=True).open()
    for paired in (True, False):
        batches = BothEnds(
            data if paired else Between(Toy("moons", 50), Toy("moons", 50)).open(), 20, 0, torch.device("cpu")
        )
        together = [torch.equal(*batches(step)[:2]) for step in range(4)]
        assert all(together) if paired else not any(together)
        seen = torch.cat([batches(step)[1] for step in range(5)])  # two epochs
        assert len(seen.unique(dim=0)) == 50


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Between(Toy("moons"), Digits()), "of one kind: moons is points, and .* pictures"),
        (Between(Toy("moons"), Toy("claw")), "of one shape: moons is 2, and claw 1"),
        (Between(Toy("moons", 50), Toy("rings", 60), paired=True), "as many rows on both sides, not 50 rows"),
        (Between(StandardNormal(), StandardNormal()), "both ends are noise"),
        (Between(Only(Toy("moons"), "upper"), Toy("moons")), "unknown label 'upper'"),
        (Only(Toy("swiss-roll"), "3"), "has no labels"),
    ],
)
def test_what_no_bridge_joins_is_said(source, said):
    with pytest.raises(UserError, match=said):
        source.open()


def test_the_words_of_bridges(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = ["--steps", "2", "--batch", "16", "--net.width", "8", "--net.depth", "1", "--report-every", "2", "--quiet"]
    assert main(["train", "eight-gaussians:3", "--target", "moons", *fields]) == 0
    run = Path("runs/eight-gaussians-3-to-moons")
    assert main(["sample", str(run), "-n", "5", "--out", "x.csv"]) == 0
    assert main(["translate", str(run), "x.csv", "--back", "--out", "back.npy"]) == 0
    assert np.load("back.npy").shape == (5, 2)
    assert main(["animate", str(run), "-n", "3", "--steps", "2"]) == 0 and main(["data", str(run)]) == 0
    assert "starts from eight-gaussians" in capsys.readouterr().out
    assert main(["train", "moons", "--out", "plain", *fields]) == 0
    for words, said in (
        (["train", "moons", "--target", "rings", "--method", "flwo"], "did you mean flow"),
        (["train", "moons", "--method", "flow"], "say where it goes: --target B"),
        (["train", "moons", "--target", "shakespeare"], "a bridge joins points, pictures or series"),
        (["train", "noise", "--target", "noise"], "both ends are noise"),
        (["train", "noise"], "unknown recipe 'noise'"),
        (["translate", str(run), "none.csv"], "none.csv: no such file"),
        (["translate", "plain", "x.csv"], "plain: makes points from noise, and translates nothing"),
        (["distill", str(run), "--method", "progressive", "--out", "fast"], "is a bridge, whose ways cross"),
        (["sample", "plian"], "unknown run 'plian'; did you mean plain?"),
        (["sample", "nothing"], "unknown run 'nothing'; known: plain\n"),  # no file beside them
        (["likelihood", str(run)], "a bridge goes from data to data"),
        (["sample", str(run), "--sampler", "bridge"], "bridge cannot sample"),
        (["sample", str(run), "--sampler", "ddpm"], "ddpm cannot sample"),
    ):
        code = main(words)
        error = capsys.readouterr().err
        assert code in (1, 2) and said in error and error.count("\n") == 1, (words, error)


def test_the_bridges_that_come_along_are_described():
    for name in ("swiss-roll-to-moons", "threes-to-eights", "sneakers-to-boots", "colour-to-gray"):
        assert Recipe.from_yaml(RECIPES[name]().to_yaml()) == RECIPES[name]()
