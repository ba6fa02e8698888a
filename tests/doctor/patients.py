"""Runs that are healthy, and runs that are broken in one known way: weights, recipe or data changed by hand, where
training is not what goes wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.data.own import Files
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogNormal
from undiffuse.net import MLP
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import MODEL, RECIPE, STATE
from undiffuse.train.loop import train
from undiffuse.train.state import Checkpoint, load_state, save_state

QUICK = {"save_every": 10_000, "report_every": 10_000}
NET = MLP(width=64, depth=2)


def points(to: Path, name: str = "moons", seed: int = 0, **changes) -> Path:
    """A toy in the plane, trained for a second."""
    recipe = RECIPES[name]().changed(steps=500, batch=256, net=NET, seed=seed, **QUICK)
    return train(recipe.changed(**changes), to, quiet=True).folder


def digits(to: Path, seed: int = 0, **changes) -> Path:
    """Digits of 8 x 8 pixels, by dense layers: for seconds, not minutes."""
    recipe = RECIPES["digits"]().changed(steps=500, batch=128, lr=3e-3, net=MLP(width=160, depth=2), seed=seed, **QUICK)
    return train(recipe.changed(**changes), to, quiet=True).folder


def rows(to: Path, x: np.ndarray, **changes) -> Path:
    """A run of a few rows of one's own."""
    to.parent.mkdir(parents=True, exist_ok=True)
    np.save(to.with_suffix(".npy"), x.astype("float32"))
    data = Files(str(to.with_suffix(".npy")))
    return points(to, "swiss-roll", data=data, **changes)


def broken(
    run: Path,
    to: Path,
    recipe: Callable[[Recipe], Recipe] | None = None,
    tensors: Callable[[dict[str, torch.Tensor]], object] | None = None,
) -> Path:
    """A copy of a run with another recipe, or other tensors."""
    shutil.copytree(run, to)
    if recipe:
        recipe(Recipe.load(to / RECIPE)).save(to / RECIPE)
    if tensors:
        held, facts = read_tensors(to / MODEL)
        held = {name: tensor.clone() for name, tensor in held.items()}
        tensors(held)
        write_tensors(to / MODEL, held, facts)
    return to


def random_rows(count: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size))


def changed(**values):
    """A change of the recipe."""
    return lambda recipe: recipe.changed(**values)


def scaled(name: str, by: float):
    """A change of a tensor."""
    return lambda held: held[name].mul_(by)


def shifted(name: str, by: float):
    return lambda held: held[name].add_(by)


def one_label(held: dict[str, torch.Tensor]) -> None:
    """The second label is told to the network as the first; before them is none."""
    table = next(value for name, value in held.items() if "entries" in name and "table" in name)
    table[2] = table[1]


def guided(weight: float):
    return lambda recipe: recipe.changed(guidance=weight)


def at_high_noise(mean: float = 2.0) -> Denoising:
    """A loss that never sees little noise."""
    return Denoising(LogNormal(mean, 0.5))


def cancelling(held: dict[str, torch.Tensor], weight: float = 1000.0, apart: float = 5e-4) -> None:
    """Two hidden units that are nearly the same, of which the difference is taken, many times."""
    for name, value in held.items():
        if "net.stem" in name or ".linear." in name:
            value[1] = value[0]
        if ".modulation." in name:
            value[1], value[1 + len(value) // 2] = value[0], value[len(value) // 2]
    held["denoiser.net.stem.bias"][1] += apart
    held["denoiser.net.head.weight"][:, 0] += weight
    held["denoiser.net.head.weight"][:, 1] -= weight


def with_average(run: Path, by: float) -> Path:
    """The run with averages that are nearer to zero, where weights begin, in its model and in its state."""
    state = load_state(run / STATE)
    assert state is not None
    tensors = {name: by * x if name.startswith("average ") else x for name, x in state.tensors.items()}
    save_state(run / STATE, Checkpoint(state.step, tensors, state.facts))
    held, facts = read_tensors(run / MODEL)
    first = f"average {Recipe.load(run / RECIPE).training.averages[0]:g}."
    averaged = {f"denoiser.{name.removeprefix(first)}": x for name, x in tensors.items() if name.startswith(first)}
    write_tensors(run / MODEL, held | averaged, facts)
    return run
