"""A training in a process of its own that is sent a signal at a step; and whether two runs are the same, to the bit."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from undiffuse.core.files import read_tensors
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.folder import load
from undiffuse.run.run import Run
from undiffuse.train.loop import train
from undiffuse.train.state import load_state
from undiffuse.train.trainer import Trainer

SERVER = multiprocessing.get_context("forkserver")  # imports once, and forks what is killed
SERVER.set_forkserver_preload(["undiffuse.train.loop", "accelerate", "torch.utils.tensorboard", "matplotlib.figure"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, here and in the processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stopped(recipe: Recipe, folder: Path, step: int, how: int, teacher: Path | None = None) -> tuple[int | None, str]:
    """A run that is sent a signal when ``step`` steps are done: (exit code, its last words).

    A pipe, not an event: setting an event waits for whoever slept on it, and that process may be dead.
    """
    child, theirs = SERVER.Pipe()
    process = SERVER.Process(target=_train, args=(recipe.to_yaml(), folder, step, theirs, teacher))
    process.start()
    assert child.poll(120) and child.recv() == step
    os.kill(process.pid, how)
    if how != signal.SIGKILL:
        child.send("go on")
    process.join(120)
    return process.exitcode, child.recv() if child.poll(0) and process.exitcode == 130 else ""


def _train(recipe: str, folder: Path, step: int, parent: Connection, teacher: Path | None) -> None:
    """In a process of its own: train, say when ``step`` steps are done, and go on when told to."""
    torch.set_num_threads(1)
    take_a_step = Trainer.step

    def told(self: Trainer) -> None:
        take_a_step(self)
        if self.done == step:
            parent.send(step)
            if not parent.poll(120):
                sys.exit("nobody said to go on")
            parent.recv()

    Trainer.step = told
    try:
        train(Recipe.from_yaml(recipe), folder, True, teacher and load(teacher))
    except KeyboardInterrupt as stop:
        parent.send(str(stop))
        sys.exit(130)


def whole(run: Run) -> tuple[dict[str, Tensor], list[Any]]:
    """Everything that must be the same: all tensors of the state and of the model, the log, the last picture."""
    state = load_state(run.folder / "state")
    model, facts = read_tensors(run.folder / "model.safetensors")
    facts.pop("seconds")
    pictures = {path.name: path.read_bytes() for path in (run.folder / "pictures").iterdir()}
    return state.tensors | {f"model {name}": value for name, value in model.items()}, [
        state.step,
        facts,
        (run.folder / "log.jsonl").read_text(),
        pictures,
    ]


def assert_same(one: Run, other: Run) -> None:
    (tensors, facts), (others, other_facts) = whole(one), whole(other)
    assert facts == other_facts
    assert tensors.keys() == others.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert not different
