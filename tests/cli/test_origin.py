"""What a command writes says what made it, and `undiffuse data` reads it back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from undiffuse.core.origin import KEY, note, origin, read_origin, recording


@pytest.mark.parametrize("ending", ["png", "gif", "npz"])
def test_a_file_says_what_made_it(run, points_run, ending):
    words = ["sample", str(points_run), "-n", "9", "--steps", "3", "--seed", "5", "--out", f"my x.{ending}"]
    assert run(*words)[0] == 0
    facts = read_origin(Path(f"my x.{ending}"))
    assert facts["command"].startswith("undiffuse sample") and facts["command"].endswith(f"--out 'my x.{ending}'")
    assert facts["run"] == str(points_run) and facts["trained_steps"] > 0
    assert (facts["seed"], facts["steps"], facts["guidance"]) == ("5", "3", "none")
    code, out, _ = run("data", f"my x.{ending}")
    assert code == 0 and "seed: 5" in out and ("points of 2 numbers" in out) == (ending == "npz")


def test_sheets_of_pictures_say_it_too_and_how_they_were_guided(run, pictures_run):
    words = ["sample", str(pictures_run), "-n", "4", "--steps", "2", "--label", "1", "--guidance", "3"]
    assert run(*words, "--out", "x.png")[0] == 0
    assert '"weight": 3.0' in read_origin(Path("x.png"))["guidance"]


def test_the_same_command_writes_the_same_file(run, points_run):
    files = []
    for _ in range(2):
        assert run("sample", str(points_run), "-n", "9", "--steps", "2", "--out", "x.png", "--force")[0] == 0
        files.append(Path("x.png").read_bytes())
    assert files[0] == files[1]


def test_other_files_say_nothing(tmp_path):
    grey = Image.new("L", (4, 4))
    text = PngInfo()
    for k, said in enumerate(["not json", "[1]", json.dumps({"run": 1}), "\0", "9" * 200_000]):
        text.add_text(KEY, said)
        grey.save(tmp_path / f"{k}.png", pnginfo=text)
    grey.save(tmp_path / "plain.gif", comment=b"\xff\xfe")
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:30])
    (tmp_path / "empty.npz").write_bytes(b"")
    for path in [*tmp_path.iterdir(), tmp_path / "nowhere.png"]:
        assert read_origin(path) == {}, path


def test_nothing_is_kept_outside_of_a_command():
    note(run="runs/a")
    assert origin() == ""
    with recording("undiffuse data x"):
        assert origin() == ""
    with recording("undiffuse sample runs/a"):
        note(run="runs/a")
        assert json.loads(origin()) == {"command": "undiffuse sample runs/a", "run": "runs/a"}
