"""A recipe for a given time: the widest network that takes enough steps, and plain numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.runs.test_resume import BASE, one_thread  # noqa: F401  # a fixture
from undiffuse.codec import MLPVAE
from undiffuse.core.errors import UserError
from undiffuse.data.ready import Digits, Pulse
from undiffuse.kind import KINDS
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipes import RECIPES, own_data
from undiffuse.recipes.series import series
from undiffuse.run.folder import read_recipe
from undiffuse.train import budget
from undiffuse.train.budget import Measured, planned
from undiffuse.train.length import Clock

UNETS = BASE.changed(data=Digits(), net=UNet(width=32, multiples=(1,)), precision="fp32")


@pytest.fixture
def paced(monkeypatch):
    """Steps that take as long as the square of the width, and in bf16 ``half`` as long."""

    def pace(seconds, half=2.0):
        def measured(recipe, data, clock):
            factor = half if recipe.training.precision == "bf16" else 1
            return Measured(recipe, seconds * recipe.model.net.width**2 * factor, 1000)

        monkeypatch.setattr(budget, "_measured", measured)

    return pace


@pytest.mark.parametrize(("seconds", "width"), [(1e-9, 128), (3e-5, 96), (6e-5, 64), (1e-4, 48), (3e-4, 32), (1, 32)])
def test_the_widest_that_takes_enough_steps(seconds, width, paced):
    paced(seconds)
    recipe, line = planned(UNETS, Clock(10), any_width=True)
    training = recipe.training
    assert recipe.model.net.width == width and training.precision == "fp32" and f"{training.steps:,} steps" in line
    assert ("too few to show much" in line) == (training.steps < KINDS["pictures"].enough)
    assert training.steps * seconds * width**2 == pytest.approx(600, rel=0.15 if seconds < 1 else 1)
    assert training.report_every == training.save_every <= training.steps
    assert training.warmup <= max(1, training.steps // 10)
    assert recipe == recipe.from_yaml(recipe.to_yaml())


def test_the_faster_precision(paced):
    paced(1e-5, half=0.5)
    assert planned(UNETS, Clock(1))[0].training.precision == "bf16"
    assert planned(UNETS, Clock(1), {"training.precision"})[0].training.precision == "fp32"


def test_what_was_said_stays(paced):
    paced(1e-9)
    for fixed in ("model.net.width", "model.net"):
        assert planned(UNETS, Clock(10), {fixed}, any_width=True)[0].model == UNETS.model
    assert planned(UNETS, Clock(10))[0].model == UNETS.model  # of a ready recipe
    kept = planned(UNETS, Clock(10), {"training.report_every", "training.warmup"})[0].training
    assert (kept.report_every, kept.warmup) == (UNETS.training.report_every, UNETS.training.warmup)
    with pytest.raises(UserError, match="not both"):
        planned(UNETS, Clock(10), {"training.steps"})


def test_every_kind_of_data_has_a_ladder(tmp_path):
    """Of widths that its networks can have."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "points.npy", rng.normal(size=(40, 2)).astype("float32"))
    np.save(tmp_path / "pictures.npy", rng.integers(0, 255, (40, 1, 16, 16), dtype=np.uint8))
    (tmp_path / "table.csv").write_text("a,b\n" + "".join(f"{k % 7}.5,{'xyz'[k % 3]}\n" for k in range(60)))
    (tmp_path / "text.txt").write_text("to be or not to be, " * 80)
    recipes = [own_data(path) for path in sorted(tmp_path.iterdir())] + [series(Pulse(40), (128,))]
    for recipe in recipes:
        data = recipe.data.open()
        kind = KINDS[data.kind]
        (width,) = (f"model.net.{path}" for path in budget.find(recipe.model.net, "width"))
        for wide in kind.widths:
            codec = recipe.codec.measure(data)
            recipe.changed(**{width: wide}).denoiser(codec.latent_shape, data.specifications)
        assert list(kind.widths) == sorted(set(kind.widths)) and kind.enough > 1
    assert {recipe.data.open().kind for recipe in recipes} == set(KINDS)


def test_folded_patches_pass_through_the_network():
    """64 x 64 of three colours in patches of 4 x 4 are 48 numbers a place."""
    folded = BASE.changed(net=SpaceToDepth(UNet(), patch=(4, 4)))
    assert KINDS["pictures"].widths_of(folded, (3, 64, 64)) == (48, 64, 96, 128)
    assert KINDS["pictures"].widths_of(folded, (16, 64, 64)) == (128,)
    assert KINDS["pictures"].widths_of(UNETS, (3, 64, 64)) == KINDS["pictures"].widths


def test_pictures_of_a_folder_are_small_unless_their_size_is_said(tmp_path):
    for k in range(6):
        Image.new("RGB", (80, 60), (40 * k, 10, 10)).save(tmp_path / f"{k}.png")
    assert own_data(tmp_path).data.open().shape == (3, 32, 32)
    assert own_data(tmp_path).model.net.patch == (2, 2)
    asked = own_data(tmp_path, {"size": "64"})
    assert asked.data.open().shape == (3, 64, 64) and asked.model.net.inner.width >= 48
    np.save(tmp_path / "array.npy", np.random.default_rng(0).integers(0, 255, (8, 3, 64, 64), dtype=np.uint8))
    assert own_data(tmp_path / "array.npy").data.open().shape == (3, 64, 64)


def test_measuring_leaves_no_trace_and_takes_latents_too():
    recipe = BASE.changed(data=Digits(), codec=MLPVAE(latent=4, hidden=(16,)))
    before = torch.get_rng_state()
    planned(recipe, Clock(0.01))
    assert torch.equal(before, torch.get_rng_state())


def test_by_the_command_line(run, tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).normal(size=(60, 3)).astype("float32"))
    code, out, error = run("train", "mine.npy", "--minutes", "0.05", "--out", "mine", "--sampling-steps", 2)
    recipe = read_recipe(Path("mine"))
    assert code == 0 and "0.05 minutes: about" in out and f"trained {recipe.training.steps:,} steps" in out, error
    assert recipe.model.net.width == min(KINDS["points"].widths)
    for words, said in [
        (("moons", "--minutes", 0), "minutes must be above 0"),
        (("moons", "--minutes", -3), "minutes must be above 0"),
        (("moons", "--minutes", 3, "--steps", 9), "not both"),
        (("moons", "--minutes", "ten"), "expected a number, not 'ten'"),
        (("mine.npy", "--minutes", 1, "--out", "mine"), "undiffuse resume mine"),
    ]:
        code, _, error = run("train", *words)
        assert code != 0 and said in error and error.count("\n") == 1, error
    assert not Path("runs").exists()


def test_a_ready_recipe_keeps_its_network(paced):
    paced(1e-6)
    recipe = RECIPES["digits"]()
    assert planned(recipe, Clock(5))[0].model == recipe.model
