"""The best training for a given time: the machine is measured for a few seconds, and a recipe is chosen for it.

    clock = Clock(10)
    recipe, line = planned(recipe, clock)
    train(recipe, "runs/mine", clock=clock)

A wider network learns more from each step but takes fewer of them. A kind of data has a ladder of widths, and a number
of steps that is enough to see what the data is; the widest network is chosen that takes as many in the time. The result
is a recipe of plain numbers, so that resuming measures nothing. Stages share the time evenly.
"""

import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from accelerate import Accelerator

from undiffuse.codec import VAE, VQ
from undiffuse.core.configuration import find
from undiffuse.core.errors import UserError, usage
from undiffuse.core.shuffled import shuffled
from undiffuse.data.dataset import Dataset
from undiffuse.kind import kind_of
from undiffuse.kind.kind import Kind
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Precision
from undiffuse.run.stages import Untrained, trainings
from undiffuse.train.length import Clock, check_any_length
from undiffuse.train.loop import looked, objective_of
from undiffuse.train.threads import threads_for
from undiffuse.train.trainer import Trainer

LOOKED, SHARE = 1.0, 0.01  # seconds for which a recipe is measured after its first step; of the time, at most
REPORTS, REPORTING = 8, 0.1  # reports of a training at most, and the share of its time that they may take
LONGEST = 600  # seconds between two reports
BACKWARD = 2  # what gradients cost, in evaluations of the network
SAMPLED = 20  # evaluations for a sample, where the recipe has no number
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


class Measured(NamedTuple):
    """A recipe, how many seconds a step of it takes, and how many weights its network has."""

    recipe: Recipe
    pace: float
    weights: int


def planned(recipe: Recipe, clock: Clock, fixed: Collection[str] = (), any_width: bool = False) -> tuple[Recipe, str]:
    """The recipe of a training that ends when the clock has run down, and a line that says what was chosen.

    Args:
        recipe: What to start from.
        clock: Runs already.
        fixed: The paths of fields that are not to be chosen.
        any_width: Whether the network may be wider or narrower than the recipe's.

    Raises:
        UserError: The steps are fixed; the recipe's method has stages; a stage embeds; the data, or the network for it,
            is not valid.
    """
    with usage():
        if "training.steps" in fixed:
            raise UserError("give --steps or --minutes, not both")
        check_any_length(recipe)
        data = Untrained(recipe).dataset("train")
    stages, lines = [], []
    for stage in recipe.stages:
        share = trainings(stage.recipe) / trainings(recipe)
        own = {path.removeprefix(f"{stage.name}.") for path in fixed if path.startswith(f"{stage.name}.")}
        below, line = planned(stage.recipe, clock.part(share), own, any_width)
        stages.append(replace(stage, recipe=below))
        lines += [f"{stage.name}: {of_it}" for of_it in line.splitlines()]
    mine = clock.part(1 / trainings(recipe)) if stages else clock
    chosen, line = _planned(replace(recipe, stages=tuple(stages)), data, mine, fixed, any_width)
    return chosen, "\n".join([*lines, line])


def _planned(
    recipe: Recipe, data: Dataset, clock: Clock, fixed: Collection[str], any_width: bool
) -> tuple[Recipe, str]:
    """Without stages, or above them."""
    kind = kind_of(data)
    width = "".join(f"model.net.{path}" for path in find(recipe.model.net, "width")[:1])
    free = any_width and width and not any(path.startswith("model.net") for path in fixed)
    widths = kind.widths_of(recipe, data.shape) if free else ()
    precisions = () if "training.precision" in fixed else PRECISIONS
    with threads_for(torch.Size(data.shape), Path(os.devnull)), torch.random.fork_rng():
        narrowest = recipe.changed(**{width: widths[0]}) if widths else recipe
        firsts = [narrowest.changed(precision=precision) for precision in precisions] or [narrowest]
        best = min((_measured(one, data, clock) for one in firsts), key=lambda one: one.pace)
        for wide in widths[1:]:
            wider = _measured(best.recipe.changed(**{width: wide}), data, clock)
            if clock.left / wider.pace < kind.enough:
                break
            best = wider
    chosen = _lasting(best, kind, clock, fixed)
    return chosen, _said(best, chosen, kind, clock)


def _measured(recipe: Recipe, data: Dataset, clock: Clock) -> Measured:
    """Steps of a copy that is thrown away, on some of the data."""
    torch.manual_seed(recipe.training.seed)
    some = data.take(shuffled(len(data), recipe.training.seed)[: max(2, recipe.training.batch)])
    accelerator = Accelerator()
    codec = recipe.codec.measure(some)
    objective = objective_of(recipe, codec, some)
    rows = looked(cast(VAE | VQ, codec.to(accelerator.device)), some) if codec.encoded_once else some
    trainer = Trainer(recipe, rows, accelerator, objective)
    trainer.step()  # which begins much that stays
    trainer.read()
    began, count, most = time.monotonic(), 0, min(LOOKED, SHARE * 60 * clock.minutes)
    while not count or time.monotonic() - began < most:
        trainer.step()
        count += 1
    trainer.read()  # waits for the device
    return Measured(recipe, (time.monotonic() - began) / count, sum(weight.numel() for weight in trainer.weights))


def _lasting(best: Measured, kind: Kind, clock: Clock, fixed: Collection[str]) -> Recipe:
    """With as many steps as fit, and reports in between that take a small part of the time."""
    training, sampling = best.recipe.training, best.recipe.sampling
    rows = kind.reported + kind.shown
    report = best.pace * rows * (sampling.steps or SAMPLED) / ((1 + BACKWARD) * training.batch)
    reports = max(1, min(REPORTS, int(REPORTING * clock.left / report)), int(clock.left / LONGEST))
    steps = max(1, round((clock.left - reports * report) / best.pace))
    every = max(1, -(-steps // reports))
    chosen = {"steps": steps, "warmup": min(training.warmup, steps // 10), "save_every": every, "report_every": every}
    return best.recipe.changed(**{name: value for name, value in chosen.items() if f"training.{name}" not in fixed})


def _said(best: Measured, chosen: Recipe, kind: Kind, clock: Clock) -> str:
    training = chosen.training
    what = f"about {training.steps:,} steps of {training.batch:,} {kind.items}, {training.precision}"
    line = f"{clock.minutes:.3g} minutes: {what}, {best.pace:.2g} s each; a network of {best.weights:,} weights"
    if training.steps < kind.enough and not chosen.stages:
        enough = 1.1 * kind.enough * best.pace / 60
        line += f"; too few to show much, try --minutes {max(1, round(enough + 0.5))}"
    return line
