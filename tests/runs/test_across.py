"""Conditions go across a bridge, and a network may be told where it starts."""

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
from undiffuse.recipes.bridges import METHODS, bridge
from undiffuse.recipes.digits import digits
from undiffuse.recipes.toys import toy
from undiffuse.run.translate import translate
from undiffuse.train.batches import BothEnds
from undiffuse.train.bridging import groups
from undiffuse.train.loop import train

SHORT = Training(steps=3, batch=16, warmup=1, save_every=3, report_every=3)
HALVES = Between(Toy("moons", 100), Toy("moons", 120, seed=1), across=("label",))


def small(method: str = "flow", data: Between = HALVES, **changes) -> Recipe:
    return bridge(toy("moons"), toy("moons"), method).changed(
        data=data,
        net=MLP(width=16, depth=1, waves=8, embedding=8),
        training=SHORT,
        sampling_steps=3,
        kept=50,
        **changes,
    )


@pytest.fixture
def pairs(tmp_path):
    """y = x + 3 or x - 3, by a coin that is a column of both files: what x alone cannot say."""
    rng = np.random.default_rng(0)
    x, side = rng.normal(size=400), rng.choice([-1.0, 1.0], size=400)
    for name, column in (("a", x), ("b", x + 3 * side)):
        np.savetxt(tmp_path / f"{name}.csv", np.stack([column, side], 1), "%.4f", ",", header="x,side", comments="")
    return Between(*(Files(str(tmp_path / f"{name}.csv"), condition=("side",)) for name in ("a", "b")), True, ("side",))


def test_rows_of_a_batch_have_the_same_label():
    data = HALVES.open()
    batches = BothEnds(data, 40, 0, torch.device("cpu"))
    seen = []
    for step in range(6):
        x, start, conditions = batches(step)
        wanted = conditions.entries["label"].values
        for rows, of in ((x, data), (start, data.start)):
            at = torch.cdist(rows, of.x).argmin(1)
            assert torch.equal(of.labels[at], wanted)
        seen.append(at)
    ends, starts = (torch.bincount(of.labels) for of in (data, data.start))
    assert len(torch.cat(seen[:3]).unique()) == int(torch.minimum(ends, starts).sum())  # in an epoch of the end
    assert not torch.equal(seen[0], seen[3])


@pytest.mark.parametrize("method", ["image-to-image", "proportional", "reflow"])
def test_every_method_takes_labels_across(method, tmp_path):
    data = Between(Toy("moons", 100), Toy("moons", 100, seed=1), METHODS[method].paired, ("label",))
    run = train(small(method, data), tmp_path / "run", quiet=True)
    x = run.dataset("test").start.x[:6]
    there = [translate(run, x, conditions={"label": label}) for label in ("0", "1")]
    assert there[0].isfinite().all() and not torch.equal(*there)
    assert translate(run, there[0], back=True, conditions={"label": "0"}).isfinite().all()
    assert translate(run, x).isfinite().all()  # not said, since a share of the rows was trained without


def test_samples_start_from_rows_of_their_label(tmp_path):
    run = train(small(), tmp_path / "run", quiet=True)
    states = next(run.trajectory(200, {"label": "1"}))[0]
    kept = run.denoiser.process.z
    encoded = run.codec.encode(states)
    at = torch.cdist(encoded, kept.rows).argmin(1)
    assert (kept.labels[at] == 1).all() and len(at.unique()) > 10


def test_a_condition_says_what_the_start_cannot(pairs, tmp_path):
    recipe = small("pairs", pairs).changed(steps=60, batch=64, lr=1e-2, condition_dropout=0.0)
    run = train(recipe, tmp_path / "run", quiet=True)
    x = run.dataset("test").start.x
    for side in (-1.0, 1.0):
        moved = translate(run, x, conditions={"side": side}) - x
        assert abs(float(moved.mean()) - 3 * side) < 0.5
    with pytest.raises(UserError, match="none for all conditions needs a model"):
        translate(run, x)


def test_told_where_it_starts_a_bridge_with_noise_does_not_forget(tmp_path):
    """Pairs x_1 = -x_0 cross in the middle, where without the start either end is as likely."""
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=(500, 1)).astype(np.float32)
    for name, rows in (("a", x), ("b", -x)):
        np.save(tmp_path / f"{name}.npy", rows)
    data = Between(*(Files(str(tmp_path / f"{name}.npy")) for name in ("a", "b")), True)
    recipe = small("image-to-image", data, told_start=True, sigma=1.0)
    run = train(recipe.changed(steps=60, batch=32, lr=1e-2, sampling_steps=10), tmp_path / "run", quiet=True)
    starts = run.dataset("test").start.x
    assert float((translate(run, starts).sign() == -starts).float().mean()) > 0.95
    with pytest.raises(UserError, match="no way back"):
        translate(run, starts, back=True)
    assert run.sample(3).shape == (3, 1)


def test_pictures_are_told_where_they_start(tmp_path):
    recipe = bridge(digits(), digits(), "image-to-image").changed(told_start=True, training=SHORT, kept=5)
    run = train(recipe.changed(**{"net.width": 8, "net.embedding": 8}), tmp_path / "run", quiet=True)
    x = run.dataset("test").start.x[:3]
    assert translate(run, x).shape == x.shape and run.sample(2).shape == (2, *run.shape)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            Between(Toy("moons"), Toy("swiss-roll"), across=("label",)),
            "swiss-roll: has no conditions; what goes across",
        ),
        (Between(Toy("moons"), Toy("moons"), across=("lable",)), "unknown condition 'lable'; did you mean label"),
        (Between(Toy("moons"), Toy("rings"), across=("label",)), "label is not the same on both sides: 0, 1 in moons"),
        (Between(Only(Digits(), "3"), Digits(), across=("label",)), "digits, 3: has no conditions"),
        (Between(Digits(), StandardNormal(), across=("label",)), "noise: has no conditions"),
    ],
)
def test_what_cannot_go_across_is_said(source, said):
    with pytest.raises(UserError, match=said):
        source.open()


def test_only_labels_go_across_without_pairs(pairs):
    with pytest.raises(UserError, match="without pairs only labels go across a bridge, and side is none"):
        Between(pairs.start, pairs.end, False, ("side",)).open()


def test_from_noise_every_condition_goes_across():
    data = Between(StandardNormal(), Toy("moons", 50), across=("label",)).open()
    x, start, conditions = BothEnds(data, 8, 0, torch.device("cpu"))(0)
    assert start is None and len(x) == len(conditions) == 8


def test_rounds_are_not_told_where_they_start(tmp_path):
    with pytest.raises(UserError, match="one that is told where it starts has only one"):
        train(small("schroedinger", told_start=True), tmp_path / "run", quiet=True)


def test_groups_are_rows_of_the_same_labels():
    conditions = HALVES.open().conditions
    found = groups(conditions)
    assert torch.equal(found == found[0], conditions.entries["label"].values == conditions.entries["label"].values[0])
    assert groups(None) is None


def test_the_words_of_what_goes_across(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = ["--steps", "2", "--batch", "16", "--net.width", "8", "--net.depth", "1", "--report-every", "2", "--quiet"]
    assert main(["train", "moons", "--target", "moons", "--across", "label", "--out", "run", *fields]) == 0
    assert main(["sample", "run", "-n", "5", "--label", "0", "--out", "x.npy"]) == 0
    assert main(["translate", "run", "x.npy", "--label", "1", "--guidance", "2", "--out", "y.npy"]) == 0
    capsys.readouterr()
    assert main(["translate", "run", "x.npy", "--label", "3", "--out", "z.npy"]) == 2
    error = capsys.readouterr().err
    assert "unknown label '3'; known: 0, 1" in error and error.count("\n") == 1
