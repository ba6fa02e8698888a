"""Mistakes: one line, the right exit code, never a traceback, and nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undiffuse.cli.program import DEBUG, main

USAGE = [
    ("trian", "did you mean train"),
    ("--hlep", "unknown command or option"),
    ("sample", "RUN"),
    ("sample RUN --stpes 4", "did you mean --steps"),
    ("sample RUN --steps", "--steps"),
    ("sample RUN --steps four", "expected a whole number, not 'four'"),
    ("sample RUN --guidance much", "expected a number, not 'much'"),
    ("sample RUN more", "unexpected 'more'"),
    ("sample RUN --step 4", "unknown option"),  # no abbreviations: they break when options are added
    ("compare RUN --steps 5,x", "expected a whole number, not 'x'"),
    ("data moons --split tset", "--split"),
    ("train", "nothing to train"),
    ("train moons --net.width", "--net.width needs a value"),
    ("train moons --net.width --steps 3", "--net.width needs a value"),
    ("train moons --out", "--out"),
    ("train moons digits", "unexpected 'digits'"),
]
NONSENSE = [  # words that only a recipe or a run can tell to be wrong
    ("train moon", "did you mean moons"),
    ("train moons --net.widht 3", "did you mean width"),
    ("train moons --steps 0", "steps must be at least 1"),
    ("train moons --seed 18446744073709551616", "go up to 9223372036854775807"),
    ("evaluate RUN --seed 18446744073709551616", "seed must be below 2^63"),
    ("likelihood RUN --seed 18446744073709551616", "seed must be below 2^63"),
    ("sample RUN --seed 18446744073709551616", "seed must be below 2^63"),
    ("train moons --data.seed 9223372036854775808", "go up to 9223372036854775807"),
    ("train piano --data.seed -1", "seed must be at least 0"),
    ("train moons --steps many", "expected a whole number"),
    ("train moons --sampling.steps {", "expected a whole number"),
    ("train moons --net {a", "unknown kind '{a'"),
    ("train moons --schedule cosin", "did you mean cosine"),
    ("sample RUN --sampler ddmi", "or ddim"),
    ("sample RUN --grid karass", "did you mean karras"),
    ("sample RUN --steps 0", "at least 1"),
    ("sample RUN -n 0", "at least 1"),
    ("sample RUN -n -3", "at least 1"),
    ("sample RUN --label 2", "label"),
    ("sample RUN --guidance 2", "guidance"),
    ("sample DIGITS --label 11", "label"),
    ("animate RUN --steps -1", "at least 1"),
    ("likelihood RUN -n 0", "at least 2, not 0"),
    ("likelihood DIGITS --flow -n 1", "at least 2, not 1"),
    ("likelihood RUN --steps 0", "at least 1, not 0"),
    ("likelihood RUN --steps 20 --flow", "leave --steps out"),
    ("likelihood RUN --steps 18446744073709551616", "steps must be at most 1,000,000"),
    ("resume RUN --steps 3", "6 were taken already"),
    ("resume RUN --steps 3 --minutes 3", "not both"),
    ("resume RUN --minutes 0", "above 0 and at most 10,080, a week"),
    ("resume RUN --minutes week", "expected a number, not 'week'"),
    ("data mooons", "did you mean moons"),
    ("compare RUN --samplers ddmi", "or ddim"),
    ("compare RUN --samplers ,", "no sampler"),
    ("compare RUN --steps 0", "at least 1"),
    ("compare RUN --steps ,", "at least 1"),
    ("compare RUN --samplers annealed-langevin --steps 2", "needs at least 21 evaluations"),
    ("train moons --ouy runs/x", "did you mean --out"),
    ("train moons --stpes 5", "did you mean --steps"),
    ("sample DIGITS --label digit=3", "unknown condition 'digit'"),
    ("sample DIGITS --label 3,x=4,5", "of which attribute is"),
    ("sample DIGITS --negative sevn", "unknown label 'sevn'"),
    ("sample DIGITS --negative 1,2 --guidance 2", "one negative label, not 2"),
    ("sample DIGITS --rescale 2", "from 0 to 1"),
    ("sample DIGITS --interval 5,1", "the lower first"),
    ("sample DIGITS --interval 5", "two noise levels"),
    ("sample DIGITS --threshold dynmic", "--threshold"),
    ("sample RUN --threshold dynamic", "a threshold is for pictures"),
    ("sample DIGITS --classifier DIGITS", "is no classifier"),
    ("sample DIGITS --worse RUN", "the worse run is of points"),
    ("sample DIGITS --worse DIGITS --rescale 1", "leave out the other run"),
]
FAILED = [
    ("train moons --out RUN", "undiffuse resume"),
    ("train nothing.npy", "nothing.npy"),
    ("train broken.yaml", "broken.yaml"),
    ("train missing.yaml", "no such file"),
    ("train empty", "empty"),
    ("resume nowhere", "nowhere"),
    ("resume empty", "undiffuse train"),
    ("sample nowhere", "nowhere"),
    ("sample empty", "not a run"),
    ("sample RUN --out x.jpg", "ending '.jpg'"),
    ("sample RUN --out x", "no ending"),
    ("sample RUN --out no/x.png", "no folder"),
    ("sample RUN --out there.png", "--force"),
    ("sample DIGITS -n 4 --steps 2 --out x.csv", ".png, .npy or .npz"),
    ("animate RUN --out x.png", "did you mean"),
    ("data RUN --out x.gif", "ending"),
    ("evaluate RUN -n 1", "at least 2"),
    ("compare RUN --seeds 0", "at least 1"),
    ("compare RUN -n 1", "at least 2"),
    ("compare RUN --out there.png", "is a file"),
]


@pytest.mark.parametrize(("words", "said"), USAGE, ids=[words for words, _ in USAGE])
def test_words_that_make_no_sense_are_exit_code_2(run, words, said):
    code, out, err = run(*words.split())
    assert code == 2
    assert_one_line(out, err, said)


@pytest.mark.parametrize(("words", "said"), NONSENSE, ids=[words for words, _ in NONSENSE])
def test_what_is_unknown_is_exit_code_2(run, points_run, pictures_run, tmp_path, words, said):
    code, out, err = run(*({"RUN": points_run, "DIGITS": pictures_run}.get(word, word) for word in words.split()))
    assert code == 2
    assert_one_line(out, err, said)
    assert not list(tmp_path.iterdir())  # nothing half done is left behind


@pytest.mark.parametrize(("words", "said"), FAILED, ids=[words for words, _ in FAILED])
def test_what_cannot_be_done_is_exit_code_1(run, points_run, pictures_run, tmp_path, words, said):
    (tmp_path / "there.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("net: [1, 2")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*({"RUN": points_run, "DIGITS": pictures_run}.get(word, word) for word in words.split()))
    assert code == 1
    assert_one_line(out, err, said)
    assert sorted(tmp_path.rglob("*")) == before  # nothing half done is left behind


def assert_one_line(out, err, said):
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("undiffuse: ")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "truncated"),
        (lambda path: path.write_bytes(b"something else entirely"), "safetensors"),
        (lambda path: path.unlink(), "no trained model"),
    ],
    ids=["truncated", "foreign", "missing"],
)
def test_a_broken_model_is_one_line(run, points_run, tmp_path, damage, said):
    import shutil

    shutil.copytree(points_run, tmp_path / "broken")
    damage(tmp_path / "broken" / "model.safetensors")
    code, out, err = run("sample", "broken")
    assert code == 1
    assert_one_line(out, err, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(run, monkeypatch, points_run, tmp_path):
    import numpy as np

    def full(path, *_):
        with open("/dev/full", "wb", buffering=0) as disk:
            disk.write(b"x")

    monkeypatch.setattr(np, "save", full)
    code, out, err = run("sample", points_run, "-n", "4", "--out", "x.npy")
    assert code == 1
    assert_one_line(out, err, "disk is full")
    assert not list(tmp_path.iterdir())


def test_what_the_system_refuses_is_one_line(run, monkeypatch, points_run):
    def refused(path):
        raise PermissionError(13, "Permission denied", "model.safetensors")

    monkeypatch.setattr("undiffuse.run.folder.load", refused)
    code, out, err = run("sample", points_run)
    assert code == 1
    assert_one_line(out, err, "model.safetensors: Permission denied")


def test_a_mistake_of_ours_is_one_line_that_says_how_to_see_more(run, monkeypatch, points_run):
    def wrong(path):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("undiffuse.run.folder.load", wrong)
    code, out, err = run("sample", points_run)
    assert code == 1
    assert_one_line(out, err, f"ZeroDivisionError: division by zero (set {DEBUG}=1 to see where)")
    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(ZeroDivisionError):
        main(["sample", str(points_run)])


def test_help_imports_nothing_heavy():
    heavy = ("torch", "numpy", "matplotlib", "PIL", "rich", "yaml", "scipy", "sklearn")
    code = (
        f"import sys; from undiffuse.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_seen_enough_is_no_error():
    pipe = f"{sys.executable} -m undiffuse recipes | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, env=os.environ, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
