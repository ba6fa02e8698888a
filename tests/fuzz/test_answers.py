"""Whatever is asked, and whatever the files hold, the answer is one line that speaks; `make fuzz` asks thousands."""

import pytest
from cases import case
from judge import answer
from world import World, scratch

AT_ONCE, TESTS = 10, 6


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("fuzz") / "world", ["attributes", "table", "text"])


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.parametrize("first", range(0, AT_ONCE * TESTS, AT_ONCE))
def test_every_answer_speaks(world, tmp_path, first):
    for number in range(first, first + AT_ONCE):
        with scratch(tmp_path / "scratch"):
            tried = case(world, 0, number)
            found = answer(tried.words)
        assert not found.faults, f"{tried.words} {tried.done}\n{found.err[:1000]}"
