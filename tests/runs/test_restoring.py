"""Runs that restore pictures from what a task leaves of them."""

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.ready import Digits, Toy
from undiffuse.data.source import Restored
from undiffuse.data.task import Edges, Inpainting, SuperResolution, entry_of, left_of
from undiffuse.evaluate.answers import answer_rows, rows_of
from undiffuse.kind.answers import looked_at
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes.restored import TASKS, restored
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import resume, train

BRIEF = Training(steps=6, batch=4, warmup=1, decay="constant", save_every=3, report_every=100)
NET = GaussianDiffusion(UNet(width=8, multiples=(1,), attention=0, embedding=8))
RECIPE = Recipe(Digits(), NET, training=BRIEF, sampling=Sampling(steps=2))
PICTURES = torch.rand(64, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One of each task, of digits."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("restoring")
    return {name: train(restored(RECIPE, name), folder / name, quiet=True) for name in TASKS}


# ------------------------------------------------------------------------------------------------- what is left


def test_fewer_pixels_are_means():
    left = left_of(SuperResolution(2), PICTURES, SeededNoise(0))
    torch.testing.assert_close(left[:, :, 1, 2], PICTURES[:, :, 2:4, 4:6].mean((2, 3)))


def test_a_hole_is_a_rectangle_of_its_size_anywhere_and_the_rest_is_the_picture():
    left = left_of(Inpainting(0.25, 0.5), PICTURES, SeededNoise(0))
    known = left[:, 3:] == 1
    assert left[:, :3].equal(PICTURES * known) and (known | (left[:, 3:] == -1)).all()
    sides = [(~known).any(axis)[:, 0].sum(1) for axis in (3, 2)]
    assert (sides[0] * sides[1]).equal((~known).sum((1, 2, 3)))  # a rectangle
    for side, whole in zip(sides, (12, 16), strict=True):
        assert 0.25 * whole - 1 <= int(side.min()) < int(side.max()) <= 0.5 * whole + 1
    assert (~known).any(0).float().mean() > 0.9  # each place is in some hole


def test_edges_are_where_brightness_changes_whichever_way():
    x = -torch.ones(2, 3, 8, 8)
    x[0, :, :, 4:] = 1
    x[1, :, 4:] = 1
    left = left_of(Edges(), x, SeededNoise(0))
    assert left[0].equal(left[1].mT) and left[0, 0, :, [3, 4]].eq(1).all() and left[0, 0, :, [0, 1, 6, 7]].eq(-1).all()


@pytest.mark.parametrize("task", [SuperResolution(2), Inpainting(), Edges()], ids=TASKS)
def test_bytes_are_what_their_numbers_are(task):
    as_bytes = ((PICTURES + 1) * 127.5).round().byte()
    both = [entry_of(task, x, SeededNoise(3)).values for x in (as_bytes, as_bytes / 127.5 - 1)]
    torch.testing.assert_close(*both)
    assert tuple(both[0].shape[1:]) == task.specification((3, 12, 16)).shape
    assert looked_at(both[0], as_bytes).shape == as_bytes.shape


# ------------------------------------------------------------------------------------------------------ training


def test_a_training_with_holes_goes_on_bit_for_bit(runs, tmp_path):
    train(restored(RECIPE.changed(steps=3), "inpainting"), tmp_path / "half", quiet=True)
    went_on, whole = resume(tmp_path / "half", quiet=True, steps=6), runs["inpainting"]
    for name, weight in whole.denoiser.state_dict().items():
        assert weight.equal(went_on.denoiser.state_dict()[name]), name


def test_a_hole_is_elsewhere_in_every_step_and_rows_that_are_taken_have_theirs():
    data = Restored(Digits(), Inpainting()).open()
    assert data.conditions is None and data.labels is None
    rows = torch.arange(5)
    assert data.take(rows).conditions.entries["known"].values.equal(data.take(rows).conditions.entries["known"].values)
    one, other = (entry_of(data.task, data.x[:5], SeededNoise(seed)).values for seed in (1, 2))
    assert not one.equal(other)


def test_how_noisy_what_is_left_is_belongs_to_the_recipe(tmp_path):
    recipe = restored(RECIPE, "super-resolution").override("speed", "0.5").override("fewer", "2")
    assert recipe.data.task == SuperResolution(2, speed=0.5)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    run = train(recipe, tmp_path / "run", quiet=True)
    x = run.dataset("test").x[:2]
    found = run.sample(4, seed=1, **run.left_of(x))
    assert found.equal(undiffuse.load(tmp_path / "run").sample(4, seed=1, **run.left_of(x)))
    assert found[2:3].equal(run.sample(1, seed=1, first=2, **run.left_of(x)))


# ------------------------------------------------------------------------------------------------------ answering


def test_each_task_answers_a_file_of_the_users(run, runs):
    x = runs["edges"].dataset("test").x[0, 0].numpy()
    Image.fromarray(x).save("whole.png")
    Image.fromarray(x[:2, :2]).save("small.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 255
    Image.fromarray(mask).save("mask.png")
    own = {
        "super-resolution": ["--low", "small.png"],
        "inpainting": ["--known", "whole.png", "--mask", "mask.png"],
        "edges": ["--edges", "whole.png"],
    }
    for name, words in own.items():
        for asked in (words, ["--like", "whole.png"]):
            code, out, err = run("sample", runs[name].folder, *asked, "-n", "3", "--out", "x.npy", "--force")
            assert (code, err) == (0, "") and "3 pictures" in out
    code, _, _ = run("sample", runs["inpainting"].folder, *own["inpainting"], "-n", "2", "--out", "y.npy")
    assert code == 0 and (np.load("y.npy")[:, 0][:, mask == 0] == x[mask == 0]).all()  # what is known stays


def test_its_answers_are_measured_beside_what_needs_no_network(runs):
    run = runs["inpainting"]
    x = run.dataset("test").x[:160]

    def coarse(x):
        return torch.nn.functional.avg_pool2d(x, 4).flatten(1)

    def rows(by):
        """Of the truth, or of what is darker."""
        found = rows_of(run, x, lambda x, each: x[:, None].expand(-1, each, -1, -1, -1) // by, 0, coarse)
        return {row.name: row for row in found}

    true, darker, joint = rows(1), rows(2), "joint Frechet distance"
    assert true["PSNR of the mean answer"].value == float("inf") > true["PSNR of the mean answer"].floor > 8
    assert true[joint].value == pytest.approx(true[joint].floor)
    assert darker[joint].value > 2 * true[joint].value
    own = {row.name: row.value for row in answer_rows(run, run.dataset("test"), 24, run.sampling, coarse)}
    assert list(own) == list(true) and own["spread of answers"] > 0


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("edges", [], "say from what: --edges DRAWING.png, or --like WHOLE.png"),
        ("edges", ["--low", "a.png"], "trained to restore pictures from --edges DRAWING.png; leave --low out"),
        ("edges", ["--edges", "a.png"], "5 x 7 pixels, and this run makes 8 x 8"),
        ("super-resolution", ["--low", "a.png"], "enlarges pictures of 1 x 2 x 2"),
        ("super-resolution", ["--low", "a.png", "--like", "a.png"], "give --low or --like, not both"),
        ("inpainting", ["--known", "a.png"], "5 x 7 pixels"),
        ("inpainting", ["--like", "none.png"], "no such file"),
    ],
)
def test_what_it_cannot_answer_is_said(run, runs, name, words, said):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save("a.png")
    code, _, err = run("sample", runs[name].folder, *words)
    assert code in (1, 2) and said in err and "\n" not in err.strip()


def test_a_run_of_no_task_makes_nothing_of_edges_and_other_data_has_no_task(run, tmp_path):
    with pytest.raises(UserError, match="only pictures are restored"):
        Restored(Toy(count=50), Edges()).open()
    with pytest.raises(UserError, match="8 x 8 pixels are not made 3 times smaller"):
        Restored(Digits(), SuperResolution(3)).open()
    assert main(["train", "digits", "--task", "colours", "--out", str(tmp_path / "run")]) == 2
    train(RECIPE.changed(steps=1), tmp_path / "plain", quiet=True)
    code, _, err = run("sample", tmp_path / "plain", "--edges", "a.png")
    assert code == 2 and "train one: undiffuse train DATA --task edges" in err
