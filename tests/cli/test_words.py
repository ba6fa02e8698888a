"""Words on the command line: --text, --negative-text, weighted parts, and what is said of words that are not known."""

import numpy as np
import pytest
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.read import parts_of
from undiffuse.core.errors import UserError
from undiffuse.recipe.training import Training
from undiffuse.recipes import RECIPES, own_data
from undiffuse.sampling.sampling import Guidance
from undiffuse.train.loop import train

KNOWN = "a red thing, and a blue one".replace(",", " ,")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A hardly trained run of pictures with captions."""
    folder = tmp_path_factory.mktemp("words") / "mine"
    folder.mkdir()
    for k in range(12):
        Image.new("RGB", (4, 4), (250 * (k % 2), 9 * k, 100)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text("a red thing" if k % 2 else "a blue one, and more\na blue one")
    recipe = own_data(folder).changed(width=16, embedding=16, precision="fp32")
    shorter = {"steps": 4, "batch": 4, "warmup": 1, "save_every": 4, "report_every": 4}
    return train(recipe.changed(**shorter), folder.parent / "run", quiet=True)


def sampled(run, tmp_path, *words):
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
    assert main(["sample", str(run.folder), "-n", "4", "--steps", "2", *words, "--out", str(out)]) == 0
    with np.load(out) as arrays:
        return arrays["x"], arrays["condition.text"].tolist()


def test_texts_are_drawn_in_turn_and_saved_with_the_samples(run, tmp_path):
    x, texts = sampled(run, tmp_path, "--text", "a red thing", "--text", "a blue one, and more")
    assert texts == ["a red thing", "a blue one, and more"] * 2
    assert x.shape == (4, 3, 4, 4)
    assert (
        main(
            [
                "sample",
                str(run.folder),
                "-n",
                "2",
                "--steps",
                "2",
                "--text",
                "a red thing",
                "--out",
                str(tmp_path / "x.png"),
            ]
        )
        == 0
    )


def test_a_negative_text_and_parts_are_guidance(run, tmp_path, monkeypatch):
    """What is typed is what Python is asked for."""
    asked = []
    draw = undiffuse.run.run.Run.draw
    monkeypatch.setattr(undiffuse.run.run.Run, "draw", lambda self, *args: asked.append(args) or draw(self, *args))
    sampled(run, tmp_path, "--text", "a red thing", "--negative-text", "a blue one, and more")
    sampled(run, tmp_path, "--text", "a red thing :1.5 AND a blue one", "--guidance", "1")
    assert asked[0][2].guidance.negative_text == "a blue one, and more"
    assert asked[1][2].guidance.parts == (("a red thing", 1.5), ("a blue one", 1.0))


def test_parts_are_read():
    assert parts_of("a red circle :2 AND a blue square") == [("a red circle", 2.0), ("a blue square", 1.0)]
    assert parts_of("at 3:30 : -0.5") == [("at 3:30", -0.5)]
    with pytest.raises(UserError, match="empty part"):
        parts_of("a AND ")
    with pytest.raises(UserError, match="finite"):
        Guidance(parts=(("a", float("nan")),))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", ""], "text is empty"),
        (["--text", "кот"], "no word that this model knows; it knows 7 words: a, and, blue"),
        (["--text", "a AND b", "--text", "c"], "give --text once"),
        (["--text", "a red thing AND"], "an empty part"),
        (["--text", "a red thing AND кот"], "no word that this model knows"),
    ],
)
def test_words_that_cannot_be_drawn(run, words, said, tmp_path, capsys):
    assert main(["sample", str(run.folder), *words, "--out", str(tmp_path / "x.png")]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (tmp_path / "x.png").exists()


def test_unknown_words_are_named_and_the_rest_is_drawn(run, tmp_path, capsys):
    assert sampled(run, tmp_path, "--text", "a red thign")[1] == ["a red"] * 4
    assert "left out what this model does not know: thign; did you mean thing?" in capsys.readouterr().err


def test_a_run_that_knows_no_words_says_what_it_knows(tmp_path, capsys):
    small = RECIPES["digits"]().changed(training=Training(steps=1, batch=4, save_every=1, report_every=2))
    run = train(small, tmp_path / "digits", quiet=True)
    assert main(["sample", str(run.folder), "--text", "a seven", "--out", str(tmp_path / "x.png")]) == 2
    assert "trained without words; leave text out, and ask for what it knows (label: 0, 1, 2" in capsys.readouterr().err


def test_between_two_texts_every_frame_lies_between_them(run, tmp_path, capsys):
    """The first frame is what the first text gives, the last what the second gives, from the same noise."""
    out, texts = tmp_path / "between.npz", ["--text", "a red thing", "--text", "a blue one"]
    how = ["--steps", "3", "--guidance", "1", "--sampler", "ddim"]
    assert main(["interpolate", str(run.folder), "--seeds", "7", *texts, "-n", "3", *how, "--out", str(out)]) == 0
    with np.load(out) as arrays:
        frames = arrays["x"].astype(int)
    for frame, text in ((0, "a red thing"), (2, "a blue one")):
        alone = run.sample(1, text=text, steps=3, guidance=1.0, sampler="ddim", seed=7).numpy().astype(int)
        assert abs(frames[frame] - alone[0]).max() <= 1
    assert main(["interpolate", str(run.folder), "--seeds", "7,8", *texts, "--out", str(tmp_path / "x.png")]) != 0
    assert "two of them, one seed" in capsys.readouterr().err
