"""Every command on every kind of data: done, or said in one line why not and what to do instead."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.cli import main
from undiffuse.kind import KINDS
from undiffuse.run.start import Noised

SHORT = ["--steps", "3", "--batch", "8", "--warmup", "1", "--report-every", "3", "--save-every", "3", "--quiet"]
TEXT = "The cat sat on the mat, and the hat was on the cat. " * 60
RNG = np.random.default_rng(0)


def points(folder: Path) -> Path:
    rows = RNG.normal(size=(200, 2))
    (folder / "points.csv").write_text("a,b\n" + "".join(f"{a:.4f},{b:.4f}\n" for a, b in rows))
    return folder / "points.csv"


def pictures(folder: Path) -> Path:
    np.savez(folder / "pictures.npz", x=RNG.integers(0, 256, (120, 1, 8, 8), np.uint8), y=np.arange(120) % 2)
    return folder / "pictures.npz"


def fields(folder: Path) -> Path:
    np.save(folder / "fields.npy", RNG.normal(size=(120, 2, 8, 8)).astype(np.float32))
    return folder / "fields.npy"


def table(folder: Path) -> Path:
    rows = "".join(f"{a:.2f},{'xyz'[k % 3]}\n" for k, a in enumerate(RNG.normal(size=200)))
    (folder / "table.csv").write_text("size,colour\n" + rows)
    return folder / "table.csv"


def text(folder: Path) -> Path:
    (folder / "text.txt").write_text(TEXT)
    return folder / "text.txt"


def series(folder: Path) -> Path:
    np.save(folder / "series.npy", np.cumsum(RNG.normal(size=(120, 2, 40)), -1).astype(np.float32))
    return folder / "series.npy"


MADE = {  # how some data of a kind is made, and the network that is small
    "points": (points, "--net.width 8 --net.depth 1"),
    "pictures": (pictures, "--net unet --net.width 8 --net.embedding 8"),
    "fields": (fields, "--net unet --net.width 8 --net.embedding 8"),
    "table": (table, "--net.width 8 --net.depth 1"),
    "text": (text, "--net.width 8 --net.depth 1 --net.heads 1 --data.length 24"),
    "series": (series, "--net.inner.width 8 --net.inner.embedding 8 --net.inner.multiples 1,1"),
}
KNOWN = {  # what of such data may be known
    "points": ["--given", "a=1.5"],
    "pictures": ["--known", "half.png", "--mask", "mask.png"],
    "fields": ["--known", "half.npy", "--mask", "mask.png"],
    "table": ["--given", "colour=x"],
    "text": ["--prompt", "The _at"],
    "series": ["--known", "half.npy"],
}


@pytest.fixture(scope="module", params=sorted(MADE))
def trained(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    make, small = MADE[request.param]
    assert main(["train", str(make(folder)), "--out", str(folder / "run"), *SHORT, *small.split()]) == 0
    return request.param, folder


def run_of(folder: Path) -> "undiffuse.Run":
    return undiffuse.load(folder / "run")


def holes(name: str, folder: Path) -> str:
    """A file of such data of which some is known."""
    shape = run_of(folder).shape
    if name == "points":
        (folder / "holes.csv").write_text("a,b\n1.5,\n,0.5\n")
    elif name == "table":
        (folder / "holes.csv").write_text("size,colour\n1.5,\n,x\n")
    elif name == "text":
        (folder / "holes.txt").write_text("The _at sat")
        return "holes.txt"
    elif name == "pictures":
        Image.fromarray(np.full((8, 8), 200, np.uint8)).save(folder / "half.png")
    else:
        x = np.zeros((1, *shape), np.float32)
        if name == "series":
            x[..., shape[-1] // 2 :] = np.nan
        np.save(folder / "half.npy", x)
    if len(shape) == 3:
        mask = np.zeros((8, 8), np.uint8)
        mask[4:] = 255
        Image.fromarray(mask).save(folder / "mask.png")
    return {"points": "holes.csv", "table": "holes.csv", "series": "half.npy"}.get(name, "")


def answers(words: list[str], capsys) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    assert said.err.count("\n") <= 1 and "UNDIFFUSE_DEBUG" not in said.err, said.err
    return code, said.out, said.err


def test_it_is_described(trained, capsys):
    _, folder = trained
    code, out, _ = answers(["data", str(folder / "run")], capsys)
    assert code == 0 and re.search(r": \d+ (points|pictures|rows|pieces|series) of", out)


def test_it_is_sampled_into_every_file(trained, capsys, monkeypatch):
    _, folder = trained
    monkeypatch.chdir(folder)
    run = run_of(folder)
    for ending in KINDS[run.kind].writers:
        assert answers(["sample", "run", "-n", "3", "--steps", "2", "--out", f"x{ending}"], capsys)[0] == 0
        assert (folder / f"x{ending}").stat().st_size > 0
    code, _, error = answers(["sample", "run", "--out", "x.exe"], capsys)
    assert code in (1, 2) and "x.exe" in error


def test_what_is_known_comes_back(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    file = holes(name, folder)
    words = ["sample", "run", "-n", "3", "--steps", "2", "--out", f"known{list(KINDS[run_of(folder).kind].writers)[1]}"]
    code, _, error = answers([*words, *KNOWN[name], "--force"], capsys)
    assert code == 0, error
    if file:
        assert answers(["sample", "run", "-n", "2", "--steps", "2", "--known", file, "--force"], capsys)[0] == 0
        code, out, error = answers(["impute", "run", file, "--force"], capsys)
        assert code == 0 and "filled" in out, error


def whole(name: str, folder: Path) -> str:
    """A file of such data of which nothing is missing."""
    holes(name, folder)
    return {"pictures": "half.png", "text": "text.txt", "points": "points.csv", "table": "table.csv"}.get(
        name, f"{name}.npy"
    )


def test_it_starts_from_a_file(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    out = f"from{list(KINDS[run_of(folder).kind].writers)[1]}"
    words = ["sample", "run", "--steps", "4", "--init-picture", whole(name, folder), "--strength", "0.5", "--out", out]
    code, said, error = answers(words, capsys)
    assert (code == 0) == (name != "text") and (code == 0 or "whole texts are not read" in error), error
    assert code or "with 2 steps, 2 network evaluations" in said
    run = run_of(folder)
    x = run.dataset().x[:2]
    near = run.sample(2, steps=4, start=Noised(x, 1e-4))  # the kinds that no file is read of, too
    assert near.shape == x.shape and torch.allclose(near.double(), x.double(), atol=0.02 * float(x.double().std()) + 1)


def test_it_is_inverted_and_interpolated(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    file, steps = whole(name, folder), ["--steps", "3"]
    code, said, error = answers(["invert", "run", file, *steps, "--out", "z.npz"], capsys)
    assert (code == 0) == (name not in ("table", "text")), error
    if code:
        assert "cannot invert: only numbers" in error
        assert "cannot interpolate: only numbers" in answers(["interpolate", "run", "--seeds", "1,2"], capsys)[2]
        return
    assert "off by" in said
    out = f"back{list(KINDS[run_of(folder).kind].writers)[1]}"
    assert answers(["sample", "run", "--noise", "z.npz", *steps, "--out", out], capsys)[0] == 0
    for between in (["--seeds", "1,2"], ["--files", f"{file},{file}"]):
        for ending in (".png", ".gif"):
            words = ["interpolate", "run", *between, *steps, "--out", f"way{ending}", "--force"]
            words += ["-n", "200" if name == "points" else "3"] if between[0] == "--seeds" else ["-n", "600"]
            if ending == ".png" or between[0] == "--seeds":
                assert answers(words, capsys)[0] == 0, words


def test_it_is_filmed(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    code, _, error = answers(["animate", "run", "-n", "2", "--steps", "3", "--out", "film.gif"], capsys)
    assert (code == 0) == (name != "table") and (code == 0 or "rows are not filmed" in error)


def test_it_is_evaluated(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    monkeypatch.setattr("undiffuse.measure.judge.STEPS", (5, 5))
    code, out, error = answers(["evaluate", "run", "-n", "12", "--steps", "2", "--json"], capsys)
    assert code == 0 and '"floor"' in out, error
    assert ("autocorrelation" in out) == (name == "series")


def test_its_likelihood_is_told(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    code, out, error = answers(["likelihood", "run", "-n", "4", "--json"], capsys)
    units = {"points": "nats a point", "pictures": "bits a dimension", "fields": "nats a picture"}
    units |= {"text": "bits a token", "series": "nats a series"}
    assert (code == 0) == (name in units) and (units.get(name, "") in out)
    assert code == 0 or "the likelihood is not measured" in error


def test_samplers_are_compared(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    monkeypatch.setattr("undiffuse.measure.judge.STEPS", (5, 5))
    code, _, error = answers(["compare", "run", "-n", "8", "--steps", "2,3", "--seeds", "1", "--out", "cmp"], capsys)
    assert (code == 0) == (name != "table") and (code == 0 or "nothing to compare" in error), error


def test_a_sampler_is_tuned(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    code, _, error = answers(["tune", "run", "--evaluations", "2", "--noises", "4", "--rounds", "1"], capsys)
    assert (code == 0) == (name not in ("table", "text")) and (code == 0 or "only numbers have a grid" in error), error
    if code == 0:
        words = ["sample", "run", "-n", "2", "--grid", "tuned", "--steps", "2", "--force"]
        assert answers(words, capsys)[0] == 0


def test_a_student_of_it_takes_few_steps(trained, capsys, monkeypatch):
    """Where numbers diffuse; it is then sampled, filled in, filmed, measured and compared as its teacher is."""
    name, folder = trained
    monkeypatch.chdir(folder)
    monkeypatch.setattr("undiffuse.measure.judge.STEPS", (5, 5))
    code, _, error = answers(["distill", "run", "--method", "consistency", "--out", "fast", *SHORT], capsys)
    assert (code == 0) == (name not in ("table", "text")), error
    if code:
        assert code == 2 and ("makes tokens" in error or "rows of numbers and tokens" in error)
        return
    ending = list(KINDS[run_of(folder).kind].writers)[1]
    assert answers(["sample", "fast", "-n", "3", "--out", f"fast{ending}"], capsys)[0] == 0
    start = ["sample", "fast", "--init-picture", whole(name, folder), "--out", f"near{ending}"]
    assert answers(start, capsys)[0] == 0
    holes(name, folder)
    known = ["sample", "fast", "-n", "3", *KNOWN[name], "--out", f"fast{ending}", "--force"]
    code, _, error = answers(known, capsys)
    assert code == 2 and "--sampler consistency --steps" in error
    assert answers([*known, "--steps", "3"], capsys)[0] == 0
    assert answers(["animate", "fast", "-n", "2", "--steps", "2", "--out", "fast.gif"], capsys)[0] == 0
    assert answers(["evaluate", "fast", "-n", "12", "--json"], capsys)[0] == 0
    compared = ["compare", "run", "--with", "fast", "-n", "8", "--steps", "1,2", "--seeds", "1"]
    assert answers(compared, capsys)[0] == 0
    code, _, error = answers(["likelihood", "fast", "-n", "4"], capsys)
    assert code == 1 and "ask its teacher" in error


def test_a_stranger_s_words_are_refused_in_its_own(trained, capsys, monkeypatch):
    name, folder = trained
    monkeypatch.chdir(folder)
    for other, words in KNOWN.items():
        if "--prompt" in words and name != "text":
            code, _, error = answers(["sample", "run", *words, "--force"], capsys)
            assert code in (1, 2) and "only a text takes a prompt" in error, other
    code, _, error = answers(["sample", "run", "--mask", "mask.png", "--force"], capsys)
    assert code == 2 and "--mask says which part of --known FILE is unknown" in error
