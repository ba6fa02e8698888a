"""What begins with a run's weights answers at first as the run does, and then goes on by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from tests.cli.conftest import TINY, pictures_run, points_run  # noqa: F401  # fixtures
from tests.runs.test_resume import BASE, one_thread  # noqa: F401  # a fixture
from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Labels, Numbers
from undiffuse.core.errors import Caution, UserError
from undiffuse.data.dataset import Dataset
from undiffuse.data.ready import Digits, Toy
from undiffuse.train.fine_tune import begin_with, fine_tuned
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state

AB, BC = Labels(("a", "b")), Labels(("b", "c"))
AGE = Numbers(("age",), (0.0,), (1.0,), (-1.0,), (1.0,))
X, T = torch.randn(4, 2), torch.tensor(0.4)


def model(specifications):
    """A run of untrained, random weights, which answers nevertheless; and data with such conditions."""
    torch.manual_seed(len(specifications))
    denoiser = BASE.denoiser((2,), specifications).eval()
    for weight in denoiser.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return undiffuse.run.run.Run(Path("old"), BASE, denoiser, None, specifications)


def data(specifications):
    entries = {
        name: Entry(torch.zeros(4, *one.shape, dtype=one.dtype), torch.ones(4, dtype=torch.bool))
        for name, one in specifications.items()
    }
    return Dataset(torch.randn(4, 2), Conditions(entries) if entries else None, specifications)


def answer(denoiser, label=None, name="label"):
    there = {name: Entry(torch.full((4,), label), torch.ones(4, dtype=torch.bool))} if label is not None else None
    return denoiser(X, T, Conditions(there) if there else None)


def begun(before, now):
    old, denoiser = model(before), BASE.denoiser((2,), now).eval()
    return old.denoiser, denoiser, begin_with(denoiser, BASE, data(now), old)


@pytest.mark.parametrize("now", [{}, {"label": AB}, {"label": BC}, {"kind": AB}, {"label": AB, "age": AGE}])
@pytest.mark.parametrize("before", [{}, {"label": AB}, {"label": AB, "age": AGE}])
def test_it_answers_at_first_as_the_run_did_without_conditions(before, now):
    old, new, lines = begun(before, now)
    torch.testing.assert_close(answer(new), answer(old))
    assert bool(lines) == (before != now)


def test_labels_are_known_by_name():
    old, new, lines = begun({"label": AB}, {"label": BC})
    torch.testing.assert_close(answer(new, 0), answer(old, 1))  # b
    torch.testing.assert_close(answer(new, 1), answer(old))  # c, which the run did not know
    assert not torch.allclose(answer(new, 0), answer(new, 1)) and lines == ["label: 1 of 2 labels are new, c"]


def test_what_is_new_can_be_learned():
    """It has no effect at first, but a gradient."""
    _, new, _ = begun({}, {"label": AB, "age": AGE})
    conditions = data({"label": AB, "age": AGE}).conditions
    age = Entry(torch.ones(4, 1), torch.ones(4, dtype=torch.bool))
    new(X, T, Conditions(dict(conditions.entries) | {"age": age})).square().sum().backward()
    for entry in new.encoder.entries:
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in entry.parameters())


def test_pictures_of_another_size_are_read_at_the_run_s(run, pictures_run, tmp_path):  # noqa: F811
    for label in ("3", "dot"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for k in range(12):
            gray = np.random.default_rng(k).integers(0, 255, (20, 24), dtype=np.uint8)
            Image.fromarray(gray).save(tmp_path / "mine" / label / f"{k}.png")
    code, _, said = run("train", "mine", "--init", pictures_run, "--out", "tuned", "--steps", 6, "--batch", 8)
    assert code == 0 and "label: 1 of 2 labels are new, dot" in said
    old, new = undiffuse.load(pictures_run), undiffuse.load("tuned")
    assert new.shape == (1, 8, 8) and new.step == 6 and new.recipe.model == old.recipe.model
    assert torch.equal(new.codec.mean.cpu(), old.codec.mean.cpu())
    assert run("sample", "tuned", "--label", "dot", "-n", 4, "--out", "dots.png")[0] == 0
    (tmp_path / "tuned").rename(tmp_path / "moved")  # it needs the run no more, but goes on
    assert run("resume", "moved", "--steps", 9)[0] == 0 and undiffuse.load("moved").step == 9


def test_the_autoencoder_is_the_run_s(tmp_path):
    recipe = BASE.changed(
        data=Digits(), codec=MLPVAE(latent=4, hidden=(16,), fit=Fit(steps=3, batch=16)), steps=3, report_every=99
    )
    old = train(recipe, tmp_path / "old", quiet=True)
    new = train(fine_tuned(old, recipe), tmp_path / "new", quiet=True, init=old)
    assert not (tmp_path / "new" / "codec").exists() and new.step == 3
    for name, value in old.codec.state_dict().items():
        assert torch.equal(value, new.codec.state_dict()[name])
    with pytest.warns(Caution, match="5 steps instead of 3"):
        assert resume(tmp_path / "new", quiet=True, steps=5).step == 5


def test_it_begins_where_the_run_ended(tmp_path):
    """With its averaged weights; and in a state of its own, so that it needs no run to go on."""
    old = train(BASE.changed(steps=40, report_every=99), tmp_path / "old", quiet=True)
    recipe = fine_tuned(old, BASE.changed(data=Toy("swiss-roll", 100))).changed(steps=1, lr=1e-12, averages=(0.1,))
    train(recipe, tmp_path / "new", quiet=True, init=old)
    begun = load_state(tmp_path / "new" / "state").tensors
    for name, weight in old.denoiser.net.state_dict().items():
        torch.testing.assert_close(begun[f"objective.denoiser.net.{name}"], weight.cpu())


def test_what_does_not_go_on_says_so(run, points_run, pictures_run, tmp_path):  # noqa: F811
    np.save(tmp_path / "three.npy", np.random.default_rng(0).normal(size=(60, 3)).astype("float32"))
    (tmp_path / "book.txt").write_text("to be or not to be, " * 50)
    for words, said in [
        (("three.npy", "--init", points_run), "rows of 3, and"),
        (("three.npy", "--init", pictures_run), "three.npy: points, and"),
        (("moons", "--init", "nowhere"), "nowhere"),
        (("moons", "--init", "three.npy"), "no such folder"),
        (("moons", "--init", points_run, "--net.width", 24), "leave --net out"),
        (("moons", "--init", points_run, "--prediction", "x0"), "leave --prediction out"),
        (("moons", "--target", "noise", "--init", points_run), "leave --init out"),
    ]:
        code, _, error = run("train", *words, "--out", "new", *TINY)
        assert code != 0 and said in error and error.count("\n") == 1, error
        assert not Path("new").exists()
    with pytest.raises(UserError, match="its characters are not those of"):
        other = ("--data.length", 16, "--net.width", 16, "--net.depth", 1, "--net.heads", 1, *TINY)
        assert run("train", "book.txt", "--out", "book", *other)[0] == 0
        (tmp_path / "play.txt").write_text("What a piece of work is man! " * 50)
        book = undiffuse.load("book")
        fine_tuned(book, replace(book.recipe, data=replace(book.recipe.data, path=str(tmp_path / "play.txt"))))
