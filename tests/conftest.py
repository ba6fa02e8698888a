"""The same random inputs every time, so that a failure is a change of the code; no clock, as machines are shared."""

import os

import pytest
import torch
from hypothesis import settings

from undiffuse.cli import main

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the hub, nor waits until it is known to be out of reach
settings.register_profile("undiffuse", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("undiffuse")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Torch's own generator starts anew for each test, in whatever order they run."""
    torch.manual_seed(0)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; returns its exit code, what it printed, and what it complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
