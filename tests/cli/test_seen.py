"""Pictures of which something is seen, on the command line: holes, fewer pixels, no colour."""

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.core.errors import UserError
from undiffuse.core.operator import Averaged, Brightness
from undiffuse.run.given import Given
from undiffuse.run.inverse import SEEN, WAYS, Seen, completed, seen


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory):
    """Blobs of one colour each, by a network of 40 steps."""
    folder = tmp_path_factory.mktemp("colour")
    rng = np.random.default_rng(0)
    colours = np.array([[250, 40, 40], [40, 60, 250]])[rng.integers(2, size=400)]
    x = colours[:, :, None, None] + rng.normal(0, 12, (400, 3, 8, 8))
    np.savez(folder / "blobs.npz", x=x.clip(0, 255).astype(np.uint8))
    words = ["--steps", "40", "--batch", "32", "--net.width", "8", "--warmup", "1", "--precision", "fp32", "--quiet"]
    assert main(["train", str(folder / "blobs.npz"), *words, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def files(tmp_path):
    x = np.zeros((8, 8), np.uint8)
    x[2:6, 3:5] = 230
    mask = np.zeros((8, 8), np.uint8)
    mask[4:] = 255
    for name, values in {"a": x, "mask": mask, "none": 0 * mask, "all": 0 * mask + 255, "large": mask[:5]}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    np.save(tmp_path / "mask.npy", mask[:5])
    Image.fromarray(x).resize((4, 4), Image.Resampling.BOX).save(tmp_path / "low.png")
    Image.fromarray(x).resize((3, 4), Image.Resampling.BOX).save(tmp_path / "odd.png")
    return torch.tensor(x)[None, None]


@pytest.mark.parametrize("by", WAYS)
def test_what_is_known_stays_whatever_completes_it(run, pictures_run, files, by):
    words = ["sample", pictures_run, "--known", "a.png", "--mask", "mask.png", "-n", "2", "--steps", "3"]
    code, out, err = run(*words, "--by", by, "--out", "x.npy")
    assert (code, err) == (0, "") and f"{21 if by == 'repaint' else 3} network evaluations each" in out
    x = np.load("x.npy")
    assert (x[:, 0, :4] == files[0, 0, :4].numpy()).all() and (x[0] != x[1]).any()


@pytest.mark.parametrize("by", SEEN)
def test_a_picture_of_fewer_pixels_guides(run, pictures_run, files, by):
    words = ["sample", pictures_run, "--low", "low.png", "-n", "6", "--by", by, "--steps", "10", "--out", "x.npy"]
    code, out, err = run(*words)
    assert (code, err) == (0, "") and f"note: not trained for it, but guided by what is seen ({by})" in out
    y = Averaged(2)(files.float())
    model = undiffuse.load(pictures_run)
    off, plain = ((Averaged(2)(x.float()) - y).abs().mean() for x in (torch.tensor(np.load("x.npy")), model.sample(6)))
    assert off < 0.9 * plain
    again = model.sample(6, steps=10, given=seen(model, y, Averaged(2), by))
    assert (np.load("x.npy") == again.numpy()).all()


def test_a_grey_picture_is_coloured(run, colour_run, files):
    words = ["sample", colour_run, "--gray", "a.png", "-n", "4", "--steps", "30", "--out", "x.npy"]
    code, out, err = run(*words)
    assert (code, err) == (0, "") and "guided by what is seen (pigdm)" in out
    x, other = torch.tensor(np.load("x.npy")).float(), undiffuse.load(colour_run).sample(4, steps=30).float()
    off, plain = ((Brightness()(rows) - files).abs().mean() for rows in (x, other))
    assert off < 0.8 * plain
    assert run("sample", colour_run, "--low", "low.png", "--steps", "3", "--out", "y.npy")[0] == 0


def test_rows_are_told_in_turn(pictures_run):
    told = Seen(torch.arange(3.0)[:, None], Averaged(2)).take(range(2, 5))
    assert told.x[:, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--low", "a.png"], 1, "8 x 8 pixels; this run makes 8 x 8, of fewer pixels by a whole number of times: 4 x"),
        (["--low", "odd.png"], 1, "4 x 3 pixels; this run makes 8 x 8"),
        (["--low", "gone.png"], 1, "gone.png: no such file"),
        (["--gray", "a.png"], 1, "makes pictures without colour"),
        (["--low", "low.png", "--by", "repaint"], 2, "repaint completes what is known of a picture; give --known"),
        (["--low", "low.png", "--by", "pigmd"], 2, "unknown way to guide 'pigmd'; did you mean pigdm"),
        (["--known", "a.png", "--mask", "mask.png", "--by", "repiant"], 2, "did you mean repaint"),
        (["--low", "low.png", "--known", "a.png"], 2, "give --known or --low, not both"),
        (["--by", "dps"], 2, "--by says how --known, --low or --gray FILE guides"),
        (["--known", "a.png", "--mask", "none.png"], 1, "all of it is known"),
        (["--known", "a.png", "--mask", "all.png"], 1, "nothing of it is known"),
        (
            ["--known", "a.png", "--mask", "mask.npy"],
            1,
            "mask.npy: a mask of 5 x 8, and the pictures are 1 x 1 x 8 x 8",
        ),
        (["--known", "a.png", "--mask", "large.png"], 1, "large.png: 5 x 8 pixels, and this run makes 8 x 8"),
    ],
)
def test_mistakes(run, pictures_run, files, words, code, said):
    found, out, err = run("sample", pictures_run, *words)
    assert (found, out) == (code, "") and said in err and err.count("\n") == 1


def test_other_kinds_say_what_they_are(run, points_run, files):
    assert "only pictures have fewer pixels" in run("sample", points_run, "--low", "low.png")[2]
    assert "only pictures have colours" in run("sample", points_run, "--gray", "a.png")[2]


def test_what_cannot_be_guided_is_refused(tmp_path):
    words = ["--steps", "2", "--batch", "8", "--warmup", "1", "--net.width", "8", "--quiet"]
    assert main(["train", "digits-joint", *words, "--out", str(tmp_path / "joint")]) == 0
    run = undiffuse.load(tmp_path / "joint")
    with pytest.raises(UserError, match="repaint guides numbers that are made of noise"):
        completed(run, Given(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.bool)), "repaint")
    assert run.sample(1, steps=2, given=Given(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8) > 0)).max() == 0
