"""Which tests are asked about a mutant: those that saw its lines, the likeliest first, as many as there is time for."""

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray")
pytest.importorskip("coverage")

from making import Mutant
from running import Suite

FILE = Path("some.py")


def suite() -> Suite:
    lines = {1: [""], 4: ["slow", "quick"], 5: ["slow", "other"]}
    return Suite({"slow": 9.0, "quick": 1.0, "other": 2.0}, {"some.py": lines})


def asked(low: int, high: int, limit: float = 100.0, of: Suite | None = None) -> list[str]:
    return (of or suite()).asked(Mutant(FILE, range(low, high), ""), limit)


def test_those_that_saw_the_line_the_quickest_first():
    assert asked(4, 5) == ["quick", "slow"] and asked(4, 6) == ["quick", "other", "slow"]


def test_what_runs_on_import_is_seen_by_all_and_what_never_runs_by_none():
    assert asked(1, 2) == ["quick", "other", "slow"] and asked(2, 3) == []


def test_those_that_killed_come_first_and_the_time_is_limited():
    known = suite()
    known.kills["slow"] += 1
    assert asked(4, 6, of=known) == ["slow", "quick", "other"]
    assert asked(4, 6, limit=4.0) == ["quick", "other"] and asked(4, 6, limit=0.5) == ["quick"]


def test_a_whole_file_is_quickly_asked_for():
    assert asked(1, 10**12) == ["quick", "other", "slow"]
