"""Runs of a few steps, trained once by the command line itself."""

import pytest

from undiffuse.cli import main

TINY = ["--steps", "6", "--batch", "32", "--report-every", "6", "--save-every", "3", "--sampling-steps", "4"]
POINTS = [*TINY, "--data.count", "300", "--net.width", "16", "--net.depth", "1"]


def _trained(folder, *words):
    assert main(["train", *words, "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def points_run(tmp_path_factory):
    """The plane, without labels."""
    return _trained(tmp_path_factory.mktemp("runs") / "swiss", "swiss-roll", *POINTS)


@pytest.fixture(scope="session")
def labelled_run(tmp_path_factory):
    """The plane, with two labels."""
    return _trained(tmp_path_factory.mktemp("runs") / "moons", "moons", *POINTS)


@pytest.fixture(scope="session")
def line_run(tmp_path_factory):
    """The line, where the true density is known."""
    return _trained(tmp_path_factory.mktemp("runs") / "claw", "claw", *POINTS)


@pytest.fixture(scope="session")
def pictures_run(tmp_path_factory):
    """Digits: pictures with labels."""
    return _trained(tmp_path_factory.mktemp("runs") / "digits", "digits", *TINY, "--net.width", "8")
