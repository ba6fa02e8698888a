"""Files are whole or not there, whatever happens while they are written."""

import errno
import os

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_json, write_tensors, write_text

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.zeros((), dtype=torch.int64)}


def test_tensors_and_facts_come_back(tmp_path):
    write_tensors(tmp_path / "x.safetensors", TENSORS, {"who": "me"})
    tensors, facts = read_tensors(tmp_path / "x.safetensors")
    assert facts == {"who": "me"}
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items()
    )


@pytest.mark.parametrize("when", ["write", "replace", "fsync"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()],
    ids=lambda e: type(e).__name__,
)
def test_what_was_there_survives_any_interruption(tmp_path, monkeypatch, when, error):
    path = tmp_path / "state.json"
    write_json(path, {"step": 1})

    def fail(*_, **__):
        raise error

    if when == "write":
        monkeypatch.setattr("pathlib.Path.write_text", fail)
    else:
        monkeypatch.setattr(os, when, fail)
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)) as caught:
        write_json(path, {"step": 2})
    monkeypatch.undo()
    assert path.read_text() == '{\n "step": 1\n}\n'
    assert os.listdir(tmp_path) == ["state.json"]
    if isinstance(error, OSError):
        assert "the disk is full" in str(caught.value) and "state.json" in str(caught.value)


def test_a_full_disk_is_told_by_safetensors_too(tmp_path, monkeypatch):
    """It wraps the system's error in one of its own."""
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_tensors(tmp_path / "x.safetensors", TENSORS)
    assert not os.listdir(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        write_text(tmp_path / "nowhere" / "x.txt", "")


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "missing"])
def test_what_is_not_tensors_is_said_in_a_line(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-8], "foreign": b"PK\3\4" + whole, "empty": b"", "missing": b""}[damage])
    if damage == "missing":
        path.unlink()
    with pytest.raises(
        UserError, match="no such file" if damage == "missing" else "truncated, or not a safetensors"
    ) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
