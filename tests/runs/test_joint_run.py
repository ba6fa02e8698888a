"""Pictures with their labels: two pixels of which all is known in closed form, and digits from the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conditioned import mixed
from torch import Tensor

import undiffuse
from undiffuse.cli import main
from undiffuse.codec import Standard
from undiffuse.codec.labelled import Labelled
from undiffuse.condition.label import labelled
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.data.ready import Digits, Heartbeat, Toy
from undiffuse.evaluate.joint import label_probabilities
from undiffuse.loss.mixed import MixedLoss
from undiffuse.net.table import TableMLP
from undiffuse.process import ABSORBING, Affine, Categorical, Cosine, Fading
from undiffuse.process.mixed import Mixed
from undiffuse.recipes import RECIPES
from undiffuse.run.run import Run
from undiffuse.train.loop import train
from undiffuse.train.objective import denoising

CHANCES = torch.tensor([0.3, 0.7]).double()  # of two labels
MEANS, STD = torch.tensor([[100.0, 100.0], [140.0, 120.0]]).double(), 20.0  # of two pixels, under each


def two_pixels(count: int = 4000) -> Dataset:
    """Pictures of 1 x 2 pixels, normal given the label but for rounding."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, generator=generator) < CHANCES[1]).long()
    pixels = MEANS[labels] + STD * torch.randn(count, 2, generator=generator)
    return Dataset(
        pixels.round().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 2), *labelled(labels, ("dark", "light")), "pictures"
    )


def bayes(pictures: Tensor) -> Tensor:
    """p(label | picture), exactly."""
    away = (pictures.double().flatten(1)[:, None] - MEANS).square().sum(-1) / STD**2
    return (CHANCES.log() - away / 2).softmax(-1)


@pytest.fixture(scope="module")
def small() -> Run:
    """A run of two pixels, trained for seconds; not from disk, as a recipe knows no such data."""
    data, recipe = two_pixels(), RECIPES["digits-joint"]()
    recipe = recipe.changed(net=TableMLP(width=64, depth=2, waves=8, finest=4.0), precision="fp32")
    codec = recipe.codec.measure(data)
    torch.manual_seed(0)
    objective = denoising(recipe, codec, data)
    optimizer, steps = torch.optim.AdamW(objective.parameters(), lr=3e-3), 1200
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(data), (256,))
        optimizer.zero_grad()
        objective(data.x[rows], data.conditions[rows]).backward()
        optimizer.step()
        rate.step()
    return Run("two pixels", recipe, objective.denoiser.eval(), codec, data.specifications)


def test_the_label_given_the_picture_is_bayes(small):
    pictures = two_pixels().x[:1000]
    read = label_probabilities(small, pictures)
    assert read.shape == (1000, 2) and torch.allclose(read.sum(1), torch.ones(1000))
    assert (read - bayes(pictures)).abs().mean() < 0.03


def test_the_picture_given_the_label_is_normal(small):
    for k, name in enumerate(("dark", "light")):
        pictures, conditions = small.draw(2000, {"label": name})
        labels = conditions.entries["label"].values
        assert (labels == k).all()
        pixels = pictures.double().flatten(1)
        assert (pixels.mean(0) - MEANS[k]).abs().max() < 2.5
        assert (pixels.std(0) - STD).abs().max() < 2.5


def test_both_are_the_joint_law(small):
    """Labels as often as they are, and given each drawn picture as Bayes has it: p(y) and p(y | x) and so p(x, y)."""
    pictures, conditions = small.draw(4000, sampling=small.sampling.override(seed=1))
    labels = conditions.entries["label"].values
    assert abs((labels == 1).double().mean() - CHANCES[1]) < 0.03
    likely = bayes(pictures)[:, 1]
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.0)):
        among = (likely >= low) & (likely <= high)
        error = 3 * (0.25 / among.sum()).sqrt()
        assert abs((labels[among] == 1).double().mean() - likely[among].mean()) < 0.03 + error
    assert torch.equal(small.sample(50, seed=1), pictures[:50])


def joint_denoiser(codec, data):
    process = Mixed(2, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2))
    return mixed(TableMLP(width=8, depth=1), codec.latent_shape, process, data.specifications)


def test_labels_that_are_not_known_are_no_answer():
    """Nor an error: of such rows the picture is learned alone."""
    data = two_pixels(64)
    codec = Labelled().measure(data)
    denoiser = joint_denoiser(codec, data)
    x_0, loss = codec.encode(data.x), MixedLoss(whole=True)
    unknown = loss(denoiser, x_0, SeededNoise(0), data.conditions.without())
    known = loss(denoiser, x_0, SeededNoise(0), data.conditions)
    assert unknown.isfinite().all() and (unknown <= known + 1e-6).all() and (unknown < known).any()
    assert torch.equal(unknown, loss(denoiser, x_0, SeededNoise(0)))


def test_rows_hold_pictures_and_labels():
    data = two_pixels(64)
    codec = Labelled().measure(data)
    rows = codec.encode(data.x)
    assert torch.equal(codec.decode(rows), data.x) and (codec.label(rows) == -1).all()
    told = joint_denoiser(codec, data).joined(rows, data.conditions)
    assert torch.equal(codec.label(told), data.labels) and torch.equal(codec.decode(told), data.x)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Digits, barely trained."""
    recipe = RECIPES["digits-joint"]().changed(net=TableMLP(width=128, depth=2, waves=0), steps=400, batch=128)
    recipe = recipe.changed(report_every=400, save_every=400, sampling_steps=10, precision="fp32", lr=2e-3)
    return train(recipe, tmp_path_factory.mktemp("joint") / "run", quiet=True)


def test_from_the_command_line(run, tmp_path, capsys, monkeypatch):
    both, given = tmp_path / "both.npz", tmp_path / "given.npz"
    assert main(["sample", str(run.folder), "-n", "40", "--out", str(both)]) == 0
    assert main(["sample", str(run.folder), "-n", "6", "--label", "3,5", "--out", str(given)]) == 0
    assert main(["sample", str(run.folder), "-n", "9", "--out", str(tmp_path / "sheet.png")]) == 0
    assert main(["animate", str(run.folder), "-n", "4", "--steps", "5", "--out", str(tmp_path / "film.gif")]) == 0
    with np.load(both) as file:
        assert file["x"].shape == (40, 1, 8, 8) and file["x"].dtype == np.uint8
        assert len(set(file["labels"].tolist())) > 4 and file["labels"].min() >= 0 and file["labels"].max() <= 9
    with np.load(given) as file:
        assert file["labels"].tolist() == [3, 5, 3, 5, 3, 5]
    monkeypatch.setattr("undiffuse.measure.judge.STEPS", (80, 80))
    capsys.readouterr()
    assert main(["evaluate", str(run.folder), "-n", "60", "--steps", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row["value"] for row in report["measures"]}
    assert rows["label given the picture"] > 0.8
    assert 0 <= rows["label accuracy"] <= 1 and 0 <= rows["picture given the label"] <= 1
    assert report["protocol"]["conditions"] == "drawn with the pictures"


def test_what_is_loaded_says_the_same(run):
    again, x = undiffuse.load(run.folder), run.dataset("test").x[:5]
    assert torch.equal(label_probabilities(again, x), label_probabilities(run, x))
    one, other = (r.draw(4, {"label": ["3", "none"]}, r.sampling.override(seed=2)) for r in (again, run))
    assert torch.equal(one.x, other.x) and one.conditions.entries["label"].values[::2].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample RUN --label eleven", "unknown label 'eleven'"),
        ("sample RUN --guidance 2", "is not guided"),
        ("sample RUN --negative 3", "is not guided"),
        ("sample RUN --threshold static", "is not guided"),
        ("sample RUN --sampler ddim", "choose one of ddpm"),
        ("sample RUN --given colour=red", "have no columns"),
        ("compare RUN", "nothing to compare"),
        ("train digits-joint --data toy", "labelled encodes pictures, not points"),
        ("train digits-joint --net mlp", "--net table-mlp"),
        ("train digits-joint --codec standard", "is of rows of numbers and tokens, and what diffuses here is numbers"),
        ("train digits --codec labelled", "--net table-mlp"),
    ],
)
def test_mistakes(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    code, error = main(words.replace("RUN", str(run.folder)).split()), capsys.readouterr().err
    assert code in (1, 2) and message in error and error.count("\n") == 1, error


def test_only_pictures_with_labels_are_read(run):
    with pytest.raises(UserError, match=r"\(count, 1, 8, 8\) torch.uint8, not \(3, 64\)"):
        label_probabilities(run, torch.zeros(3, 64))
    with pytest.raises(UserError, match="digits-joint"):
        plain = replace(run, codec=Standard().measure(Digits().open()))
        label_probabilities(plain, Digits().open().x[:2])
    for source in (Toy(count=100), Heartbeat(count=100)):
        with pytest.raises(UserError, match="encodes pictures"):
            Labelled().measure(source.open())
    with pytest.raises(UserError, match="and it has none"):
        Labelled().measure(replace(Digits().open(), conditions=None, specifications={}))
