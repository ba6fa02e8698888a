"""The commands that train: from data, from a teacher, or on from where a training stopped."""

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from undiffuse.cli.speech import say
from undiffuse.cli.words import bridge_for, called, cascade_for, following, is_data, is_quiet, overridden, recipe_for

if TYPE_CHECKING:
    from undiffuse.run.run import Run


def train(options: Namespace, fields: Sequence[tuple[str, str]]) -> None:
    """Train a recipe, a saved recipe.yaml, or a model of your own data."""
    began = time.monotonic()  # what is imported takes seconds
    from undiffuse.run.folder import load
    from undiffuse.train.budget import planned
    from undiffuse.train.fine_tune import fine_tuned
    from undiffuse.train.length import Clock
    from undiffuse.train.loop import new_folder, train

    own = options.end is None and is_data(options.target)
    fields = [("data.condition" if name == "condition" else name, value) for name, value in fields]
    clock = None if options.minutes is None else Clock(options.minutes, began)
    out = new_folder(options.out or Path("runs") / called(options))
    init = load(options.init) if options.init else None
    recipe, fields = cascade_for(options, fields) or (bridge_for(options) or recipe_for(options.target, fields), fields)
    if options.task is not None:
        from undiffuse.recipes.restored import restored

        recipe = restored(recipe, options.task)
    recipe = overridden(fine_tuned(init, recipe) if init else recipe, fields)
    if clock:
        recipe, line = planned(
            recipe, clock, {recipe.path_of(name) for name, _ in fields}, (own or bool(options.sizes)) and not init
        )
        if not options.quiet:
            say(line)
    _say_trained(train(recipe, out, is_quiet(options), clock=clock, init=init, following=following(options)))


def distill(options: Namespace, fields: Sequence[tuple[str, str]]) -> None:
    """Train a student of a run that needs one step, or a few, where the run needs many."""
    from undiffuse.loss.methods import method_of
    from undiffuse.run.folder import load
    from undiffuse.train.distill import cost, student
    from undiffuse.train.loop import train

    method = method_of(options.method)
    teacher = load(options.folder)
    recipe = overridden(student(teacher, method, options.evaluations, options.guidance or ()), fields)
    if not options.quiet:
        say(f"{options.out}: {cost(recipe, teacher)}")
    _say_trained(train(recipe, options.out, is_quiet(options), teacher))


def resume(options: Namespace) -> None:
    """Continue a training where it stopped, or make it longer."""
    from undiffuse.train.loop import resume

    how = {"steps": options.steps, "minutes": options.minutes}
    _say_trained(resume(options.folder, is_quiet(options), **how, following=following(options)))


def _say_trained(run: "Run") -> None:
    say(f"{run.folder}: trained {run.step:,} steps in {run.seconds:,.0f} s")
    sampled = f"RUN --classifier {run.folder}" if run.is_classifier else run.folder
    also = f"    or: undiffuse translate {run.folder} FILE" if run.is_bridge else ""
    draws = f"undiffuse sample {sampled}    or: " if run.recipe.samples or run.is_classifier else ""
    say(f"next: {draws}undiffuse evaluate {run.folder}{also}")
