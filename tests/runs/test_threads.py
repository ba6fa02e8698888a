"""As many threads as there are idle cores, chosen once: what is resumed has the number that it had."""

import os
import subprocess
import sys

import pytest
import torch

from undiffuse.core.waiting import SLEEP
from undiffuse.train import threads
from undiffuse.train.state import Checkpoint, newest_facts, save_state

PICTURE, POINT = torch.Size((1, 8, 8)), torch.Size((2,))


def test_as_many_as_cores_are_idle(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "none")
    for used, wanted in (([0] * 8, 8), ([100, 90, 80, 0, 0, 0, 0, 10], 5), ([100] * 8, 1)):
        monkeypatch.setattr(threads.psutil, "cpu_percent", lambda *_, used=used, **__: used)
        assert threads.chosen(PICTURE, tmp_path, 8) == wanted
        assert threads.chosen(POINT, tmp_path, 8) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads.chosen(PICTURE, tmp_path, 8) == 8  # as the user has it


def test_a_core_that_is_busy_for_a_moment_counts_as_idle(tmp_path, monkeypatch):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "none")
    looks = iter([[100.0, 20.0], [3.0, 0.0]])
    monkeypatch.setattr(threads.psutil, "cpu_percent", lambda *_, **__: next(looks))
    assert threads.idle_cores() == 2


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", float("inf")), ("150000 100000", 1.5), ("nonsense", float("inf"))]
)
def test_a_container_has_as_many_cores_as_it_may_use(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert threads.quota(tmp_path / "cpu.max") == cores
    assert threads.quota(tmp_path / "absent") == float("inf")


def test_what_is_resumed_has_the_threads_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(threads.psutil, "cpu_percent", lambda *_, **__: [0.0] * 8)
    save_state(tmp_path, Checkpoint(3, {"x": torch.zeros(2)}, {"threads": 1, "seconds": 2.0}))
    assert newest_facts(tmp_path)["threads"] == 1
    assert threads.chosen(PICTURE, tmp_path, 8) == 1
    (tmp_path / "000000003.json").write_text('{"facts": {"threads": "many"}}')
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads.chosen(PICTURE, tmp_path, 8) == 8


def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise():
    program = "import os, undiffuse; print(*(os.environ.get(name) for name in " + repr(tuple(SLEEP)) + "))"
    bare = {name: value for name, value in os.environ.items() if name not in SLEEP}
    for given, said in (({}, "PASSIVE 0 0"), ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7 0")):
        done = subprocess.run(
            [sys.executable, "-c", program], env=bare | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == said
