"""A run that was opened: the same seed gives the same samples whatever the batch, and mistakes are said in a line."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import undiffuse
from undiffuse.condition.label import specifications_of
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.data.ready import Toy
from undiffuse.kind import evaluate
from undiffuse.net import MLP
from undiffuse.process import LogLinear, PoissonNoise
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.samplers import SAMPLERS
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import resume, train

TINY = MLP(width=16, depth=1, waves=8, embedding=8)
LABELLED = Recipe(
    Toy("rings", 300),
    GaussianDiffusion(TINY),
    training=Training(steps=20, batch=64, warmup=2, report_every=20),
    sampling=Sampling(steps=4),
)
PLAIN = LABELLED.changed(data=Toy("swiss-roll", 300))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        "labelled": train(LABELLED, folder / "labelled", quiet=True),
        "plain": train(PLAIN, folder / "plain", quiet=True),
        "no dropout": train(LABELLED.changed(condition_dropout=0.0), folder / "no-dropout", quiet=True),
        "exploding": train(PLAIN.changed(schedule=LogLinear()), folder / "exploding", quiet=True),
    }


@pytest.fixture
def labelled(runs):
    return runs["labelled"]


@pytest.fixture
def plain(runs):
    return runs["plain"]


def test_what_is_loaded_is_what_was_trained(labelled):
    run = undiffuse.load(labelled.folder)
    assert (run.recipe, run.specifications, run.shape, run.kind, run.step) == (
        LABELLED,
        specifications_of(("0", "1", "2")),
        (2,),
        "points",
        20,
    )
    assert run.seconds > 0 and not run.denoiser.training
    assert torch.equal(run.sample(5, seed=3), labelled.sample(5, seed=3))


@pytest.mark.parametrize("sampler", [name for name, sampler in SAMPLERS.items() if not sampler.learned_variance])
def test_same_seed_same_samples_whatever_the_batch(labelled, sampler):
    """Sample i is a function of seed and i, with labels in turn, in whatever parts it is asked for."""
    options = {"sampler": sampler, "seed": 5, "guidance": 2.0}
    whole = labelled.sample(11, **options)
    assert whole.isfinite().all()
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(labelled.sample(11, **options, batch=3), whole, **close)
    parts = [labelled.sample(n, **options, first=first) for first, n in ((0, 4), (4, 1), (5, 6))]
    torch.testing.assert_close(torch.cat(parts), whole, **close)
    assert not torch.allclose(labelled.sample(11, sampler=sampler, seed=6), whole)


def test_memory_that_runs_out_is_tried_in_smaller_batches(plain, monkeypatch):
    expected, decode, sizes = plain.sample(10), type(plain)._states, []

    def small(self, plan, count, *rest):
        sizes.append(count)
        if count > 3:
            raise torch.OutOfMemoryError
        return decode(self, plan, count, *rest)

    monkeypatch.setattr(type(plain), "_states", small)
    torch.testing.assert_close(plain.sample(10, batch=10), expected)
    assert sizes == [10, 5, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("name", ["labelled", "plain", "exploding"])
def test_a_trajectory_ends_at_the_samples(runs, name):
    run = runs[name]
    states = list(run.trajectory(6, sampling=run.sampling.override(steps=5, seed=2)))
    times = [t for _, t in states]
    assert len(states) == 6 and times[0] == 1.0 and times[-1] == 0.0 and times == sorted(times, reverse=True)
    torch.testing.assert_close(states[-1][0], run.sample(6, steps=5, seed=2))
    spread = run.dataset().x.std()
    assert 0.3 * spread < states[0][0].std() < 3 * spread  # noise as large as the data, under every schedule


def test_labels(labelled):
    assert labelled.labels(7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert labelled.labels(3, first=5).tolist() == [2, 0, 1]
    assert labelled.labels(2, label=1).tolist() == labelled.labels(2, label="1").tolist() == [1, 1]
    assert labelled.labels(3, label=["2", 0]).tolist() == [2, 0, 2]
    assert labelled.labels(2, label=-1).tolist() == labelled.labels(2, label="none").tolist() == [-1, -1]
    assert labelled.labels(2, label=torch.tensor([2, 1])).tolist() == [2, 1]


def test_labels_by_name(plain):
    run = replace(plain, specifications=specifications_of(("cat", "dog", "7")))
    assert run.labels(3, label=["dog", "7", 0]).tolist() == [1, 2, 0]
    with pytest.raises(
        UserError, match=r"unknown label 'dgo'; did you mean dog\? \(or a number from 0 to 2, or none\)"
    ):
        run.labels(1, label="dgo")


def test_guidance(labelled):
    plain, off, on = (labelled.sample(6, guidance=w, seed=1) for w in (None, 1.0, 3.0))
    assert torch.equal(plain, off) and not torch.allclose(on, off)


def _trajectory(run, count, label=None, first=0, **how):
    next(run.trajectory(count, run.request(None, {"label": label}), run.sampling.override(**how), first))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("labelled", {"count": 0}, "count must be at least 1, not 0"),
        ("labelled", {"count": -3}, "count must be at least 1, not -3"),
        ("labelled", {"batch": 0}, "batch must be at least 1"),
        ("labelled", {"steps": 0}, "steps must be at least 1"),
        ("labelled", {"first": -1}, "samples are counted from 0"),
        ("labelled", {"seed": -1}, "seed must be at least 0"),
        ("labelled", {"label": 3}, r"unknown label '3'; .*a number from 0 to 2"),
        ("labelled", {"label": [0, -2]}, r"unknown label '-2'"),
        ("labelled", {"label": []}, "an empty list of conditions"),
        ("labelled", {"sampler": "dimm"}, r"unknown sampler 'dimm'; did you mean ddim"),
        ("labelled", {"sampler": "ddpm-learned"}, "learned its variance"),
        ("labelled", {"grid": "karas"}, r"unknown grid 'karas'; did you mean karras"),
        ("plain", {"label": 0}, "trained without labels; leave the label out"),
        ("plain", {"guidance": 2.0}, "guidance needs labels"),
        ("no dropout", {"guidance": 2.0}, "--label-dropout"),
        ("no dropout", {"label": "none"}, "--label-dropout"),
        ("labelled", {"guidance": float("nan")}, "guidance must be a finite number"),
    ],
)
def test_mistakes_are_one_line(runs, name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        runs[name].sample(**({"count": 2} | options))
    assert "\n" not in str(caught.value)
    if "batch" not in options:
        with pytest.raises(UserError, match=message):
            _trajectory(runs[name], **({"count": 2} | options))


@pytest.mark.parametrize("damage", ["cut", "foreign", "missing", "other recipe", "not ours", "no recipe"])
def test_a_model_that_is_damaged_or_foreign(labelled, tmp_path, damage):
    tensors, facts = read_tensors(labelled.folder / "model.safetensors")
    LABELLED.save(tmp_path / "recipe.yaml")
    path = tmp_path / "model.safetensors"
    write_tensors(path, tensors, facts)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-10])
    elif damage == "foreign":
        path.write_bytes(b"PK\x03\x04 a zip")
    elif damage == "missing":
        path.unlink()
    elif damage == "other recipe":
        LABELLED.changed(net=replace(TINY, width=24)).save(tmp_path / "recipe.yaml")
    elif damage == "not ours":
        write_tensors(path, tensors, {"format": "pt"})
    else:
        (tmp_path / "recipe.yaml").unlink()
    messages = {
        "cut": "truncated, or not a safetensors file",
        "foreign": "truncated, or not a safetensors file",
        "missing": "holds no trained model yet; go on with: undiffuse resume",
        "other recipe": "not of this recipe",
        "not ours": "not a model of undiffuse",
        "no recipe": "not a run, it holds no recipe.yaml",
    }
    with pytest.raises(UserError, match=messages[damage]) as caught:
        undiffuse.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_importing_undiffuse_is_free():
    program = "import sys, undiffuse; print('torch' in sys.modules, callable(undiffuse.load), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_evaluate(runs):
    """Every number has its floor; labelled data is judged, and the protocol says how it was sampled."""
    found = evaluate(runs["labelled"], 60, runs["labelled"].sampling.override(seed=1))
    names = [row.name for row in found.rows]
    assert {"sliced Wasserstein", "label accuracy", "copied", "two-sample accuracy"} <= set(names)
    assert 0 <= found["label accuracy"].value <= 1 and found["label accuracy"].floor > 0.8
    assert found.protocol["sampler"] == "ddim" and found.protocol["network evaluations"] == 4
    assert found.to_json() == evaluate(runs["labelled"], 60, runs["labelled"].sampling.override(seed=1)).to_json()
    assert "label accuracy" not in [row.name for row in evaluate(runs["plain"], count=60).rows]
    with pytest.raises(UserError, match="count must be at least 2"):
        evaluate(runs["plain"], count=1)


def test_samples_that_are_not_finite_are_not_given_away(runs):
    run = undiffuse.load(runs["plain"].folder)
    for weight in run.denoiser.parameters():
        weight.mul_(1e30)
    with pytest.raises(UserError, match="samples are not finite"):
        run.sample(3)


def test_a_sampler_that_adds_noise_is_refused_under_poisson_flow_before_training(tmp_path):
    """And when a run is resumed or sampled: always by a line that names samplers that work."""
    recipe = PLAIN.changed(model=GaussianDiffusion(TINY, z=PoissonNoise(64.0)))
    noisy = recipe.changed(sampling=Sampling("ddpm", steps=4))
    refused = "ddpm cannot sample .*PoissonNoise.*choose one of ddim, "
    with pytest.raises(UserError, match=refused):
        train(noisy, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    run = train(recipe, tmp_path / "run", quiet=True)
    for sampler in run.samplers:
        assert run.sample(2, sampler=sampler).isfinite().all()
    with pytest.raises(UserError, match=refused):
        run.sample(2, sampler="ddpm")
    noisy.save(run.folder / "recipe.yaml")
    with pytest.raises(UserError, match=refused):
        resume(run.folder, quiet=True)
