"""States: the last two are kept, and one that is damaged is passed over for the one before it."""

import json

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.train.state import Checkpoint, load_state, save_state


def state(step: int) -> Checkpoint:
    return Checkpoint(step, {"x": torch.full((50,), float(step)), "n": torch.tensor(step)}, {"seconds": 0.5 * step})


@pytest.fixture
def folder(tmp_path):
    for step in (0, 10, 20):
        save_state(tmp_path, state(step))
    return tmp_path


def test_there_and_back(folder):
    found = load_state(folder)
    assert (found.step, found.facts, found.passed_over) == (20, {"seconds": 10.0}, "")
    assert torch.equal(found.tensors["x"], torch.full((50,), 20.0))


def test_two_are_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{step:09d}.{ending}" for step in (10, 20) for ending in ("json", "safetensors")
    ]


def test_none_yet(tmp_path):
    assert load_state(tmp_path) is None and load_state(tmp_path / "nowhere") is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "cut tensors": lambda folder: cut(folder / "000000020.safetensors"),
    "flipped bit": lambda folder: flip(folder / "000000020.safetensors"),
    "lost tensors": lambda folder: (folder / "000000020.safetensors").unlink(),
    "cut facts": lambda folder: cut(folder / "000000020.json"),
    "foreign facts": lambda folder: (folder / "000000020.json").write_text("[1]"),
    "facts of another": lambda folder: (folder / "000000020.json").write_text(
        json.dumps(json.loads((folder / "000000010.json").read_text()) | {"step": 20})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_passed_over(folder, damage):
    DAMAGES[damage](folder)
    found = load_state(folder)
    assert found.step == 10 and found.tensors["n"] == 10 and "000000020" in found.passed_over


def test_going_on_from_an_older_state_forgets_the_damaged_one(folder):
    DAMAGES["cut tensors"](folder)
    save_state(folder, state(15))
    assert load_state(folder).step == 15 and not load_state(folder).passed_over


def test_all_damaged(folder):
    for path in folder.glob("*.safetensors"):
        cut(path)
    with pytest.raises(UserError, match="no other saved state is whole"):
        load_state(folder)


@pytest.mark.parametrize("when", range(4))
def test_a_save_that_is_interrupted_leaves_the_last_state(folder, monkeypatch, when):
    """Killed before, between and after the two renames."""
    import os

    calls, replace = [], os.replace

    def interrupted(*paths):
        calls.append(paths)
        if len(calls) == when // 2 + 1:
            if when % 2:
                replace(*paths)
            raise SystemExit
        replace(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(SystemExit):
        save_state(folder, state(30))
    assert load_state(folder).step == (30 if when == 3 else 20)
