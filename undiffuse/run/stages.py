"""Runs within a run: what they make is a condition of it, drawn before its samples are; or what it learns from.

    RUN/                          the last stage, a run as any other
    RUN/stages/low/               a stage, which draws its condition ``low``: a run too

A stage may have stages of its own. What is asked of a run is asked of its stages too, as far as they know it: the same
caption, the same label. If the condition is given, nothing is drawn for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.codec import Standard
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.low import given_with_noise
from undiffuse.condition.specification import Specifications
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.data.smaller import averaged
from undiffuse.recipe.model import PictureText
from undiffuse.recipe.recipe import Below, Embeds, Recipe, Stage
from undiffuse.run.embed import pictures_embedded
from undiffuse.sampling.sampling import Sampling

STAGES = "stages"  # in a run's folder, the folder of the runs within it


class Staged(Protocol):
    """What its stages ask of a run."""

    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def recipe(self) -> Recipe: ...  # noqa: D102
    @property
    def specifications(self) -> Specifications: ...  # noqa: D102
    @property
    def sampling(self) -> Sampling: ...  # noqa: D102
    @property
    def stages(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def drawn(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102


def told(recipe: Recipe, stages: Mapping[str, Any], split: str) -> Dataset:
    """The data of a recipe, with the conditions that its stages draw: rows of their data."""
    data = recipe.data.open(split)
    for stage in recipe.stages:
        data = stage.told(data, stages[stage.name], split)
    return data


@dataclass(frozen=True)
class Untrained:
    """A recipe before it is trained: the data that its stages will tell it of, as far as data alone says it."""

    recipe: Recipe

    def dataset(self, split: str = "train") -> Dataset:
        """What it will be trained on."""
        return told(self.recipe, {stage.name: Untrained(stage.recipe) for stage in self.recipe.stages}, split)

    def embedded(self, split: str, x: Tensor) -> Tensor:
        """Raises UserError: only the trained model can say."""
        raise UserError("what a stage embeds is known when it is trained: give --steps, and leave --minutes out")


def trainings(recipe: Recipe) -> int:
    """How many models are trained for a recipe: its own, and those of its stages."""
    return 1 + sum(trainings(stage.recipe) for stage in recipe.stages)


def shares(recipe: Recipe) -> Iterator[tuple[Stage, float]]:
    """Each stage, with its share of the time that is left when it begins, so that all trainings take the same time."""
    left = trainings(recipe)
    for stage in recipe.stages:
        yield stage, trainings(stage.recipe) / left
        left -= trainings(stage.recipe)


def check_plan(recipe: Recipe) -> None:
    """Raises UserError where the model of a recipe could not be told what its stages make: before any is trained."""
    if not isinstance(recipe.codec, Standard):
        return  # what diffuses is known when its codec is trained
    specifications = dict(recipe.data.open("train").specifications)
    for stage in recipe.stages:
        if isinstance(stage, Below):
            specifications[stage.name] = stage.specification(_row_shape(stage.recipe))
    with torch.random.fork_rng():
        recipe.denoiser(_row_shape(recipe), specifications)


def _row_shape(recipe: Recipe) -> tuple[int, ...]:
    """The shape of what a recipe makes."""
    embeds = next((stage.recipe.model for stage in recipe.stages if isinstance(stage, Embeds)), None)
    if embeds is None:
        return recipe.data.open("train").shape
    if not isinstance(embeds, PictureText):
        raise UserError("a stage that embeds is a model of pictures and texts, --model picture-text")
    return (embeds.dimensions,)


def completed(run: Staged, wanted: Conditions | None, count: int, first: int, how: Sampling) -> Conditions | None:
    """What samples ``first``, ``first`` + 1, ... are asked to be, with what the stages of a run draw for them, and with
    noise in the pictures that take it.

    A stage draws with the same seed, and otherwise as it does alone. Raises UserError where a condition is neither
    given nor drawn.
    """
    if wanted is None:
        return None
    for stage in run.recipe.stages:
        if stage.name in run.drawn and not wanted.entries[stage.name].present.all():
            wanted = _with_drawn(run, stage.name, wanted, count, first, how.seed)
    noise = SeededNoise(how.seed, first, 2 * run.height + 1)
    return given_with_noise(run.specifications, wanted, noise, how.low_noise)


def _with_drawn(run: Staged, name: str, wanted: Conditions, count: int, first: int, seed: int) -> Conditions:
    require_stage(run, name)
    stage, entry = run.stages[name], wanted.entries[name]
    request = wanted.only(*stage.specifications)
    x = stage.draw(count, request, replace(stage.sampling, seed=seed), first=first).x
    values = run.specifications[name].entry(x).values  # type: ignore[union-attr]
    there = entry.present.view(-1, *[1] * (values.ndim - 1))
    full = Entry(torch.where(there, entry.values, values), torch.ones_like(entry.present))
    return Conditions({**wanted.entries, name: full})


def read_off(run: Staged, x: Tensor) -> dict[str, Tensor]:
    """What the stages of a run would draw for rows x (count, *shape) of its data, by name: read from them instead."""
    return {name: _row_of(run.stages[name], x) for name in run.drawn}


def _row_of(stage: Any, x: Tensor) -> Tensor:
    inner = next((one.name for one in stage.recipe.stages if isinstance(one, Embeds)), None)
    if inner is not None:
        return pictures_embedded(stage.stages[inner], x)
    return averaged(x, x.shape[-1] // stage.shape[-1])


def without_drawn(run: Staged, conditions: Conditions | None) -> Conditions | None:
    """Conditions as a user asked for them: without those that a stage drew."""
    if conditions is None or not run.drawn:
        return conditions
    given = {name: entry for name, entry in conditions.entries.items() if entry.present.any() or name not in run.drawn}
    return Conditions(given) if given else None


def with_undrawn(run: Staged, conditions: Conditions) -> Conditions:
    """Conditions with absent entries for those that a stage draws, where they speak of none."""
    of = {name: run.specifications[name] for name in run.drawn}
    return conditions.with_absent({name: torch.zeros(one.shape, dtype=one.dtype) for name, one in of.items()})


def height_of(stages: Mapping[str, Staged]) -> int:
    """How many floors of stages are below a run: each draws noise of its own."""
    return max((1 + stage.height for stage in stages.values()), default=0)


def require_stage(run: Staged, name: str) -> None:
    """Raises UserError where a condition is to be drawn and its stage is not there."""
    if name not in run.stages:
        raise UserError(
            f"{run.folder / STAGES / name}: the stage that draws {name} is not there, or not trained; "
            f"go on with: undiffuse resume {run.folder}"
        )
