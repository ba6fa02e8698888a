"""How long a training is: so many steps, or as many as fit until a clock has run down.

The learning rate falls over the steps of the recipe, so a training that is given more time is given another recipe: the
same with another number of steps. From there on it is a training of so many steps, and resumes bit for bit.

How many fit is first a guess, from a pace that was measured. While the training runs, the guess is corrected whenever
half of the time, or of the steps, that were left has passed: an error of the pace then counts only for what is left.
"""

import time
from dataclasses import replace
from pathlib import Path

from undiffuse.core.errors import UserError, caution, usage
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.folder import STATE
from undiffuse.train.state import newest_facts, newest_step, seconds_of

WEEK = 7 * 24 * 60
CLOSE = 0.02  # of the whole time: an error that is left as it is


class Clock:
    """Runs down so many ``minutes`` after it ``began``, by `time.monotonic`: by default now.

    Raises UserError for a time that is not above 0, or longer than a week.
    """

    @usage()
    def __init__(self, minutes: float, began: float | None = None) -> None:
        if not 0 < minutes <= WEEK:
            raise UserError(f"minutes must be above 0 and at most {WEEK:,}, a week, not {minutes:g}")
        self.minutes = minutes
        self.end = (time.monotonic() if began is None else began) + 60 * minutes
        self.begin(0)

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.end - time.monotonic())

    def part(self, share: float) -> "Clock":
        """A clock for a share of the time that is left."""
        return Clock(max(share * self.left, 1e-3) / 60)

    def begin(self, done: int) -> None:
        """The training goes on after ``done`` steps; half of the time from now on, it is looked at again."""
        now = time.monotonic()
        self._since, self._done, self._next = now, done, now + self.left / 2

    def steps(self, done: int, planned: int, ending: float) -> int:
        """How many steps the training shall have in all, at least one more than are ``done``.

        ``planned``, unless it is time to look and the end would be missed. ``ending`` is how many seconds the last
        report takes.
        """
        if done == self._done or (time.monotonic() < self._next and 2 * done < planned + self._done):
            return planned
        pace = (time.monotonic() - self._since) / (done - self._done)
        error, near = (planned - done) * pace + ending - self.left, CLOSE * 60 * self.minutes
        self.begin(done)
        return planned if abs(error) < near else done + max(1, round((self.left - ending) / pace))


@usage()
def longer(recipe: Recipe, folder: Path, steps: int | None, clock: Clock | None) -> Recipe:
    """The recipe of the run in ``folder`` with another number of steps, with a `Caution` that says what becomes of the
    learning rate.

    A clock asks for as many steps as fit at the pace so far.

    Raises UserError for steps and a clock, for fewer steps than were taken, and for a loss whose stages depend on their
    number.
    """
    if steps is None and clock is None:
        return recipe
    if steps is not None and clock is not None:
        raise UserError("give --steps, how many in all, or --minutes, how much longer; not both")
    check_any_length(recipe)
    done, before = newest_step(folder / STATE), recipe.training.steps
    steps = steps if clock is None else _fitting(clock, folder, done)
    assert steps is not None
    if steps < max(done, 1):
        raise UserError(f"{folder}: --steps is how many in all, and {done:,} were taken already; not {steps:,}")
    if steps != before:
        training = replace(recipe.training, steps=steps)
        was, now = recipe.training.lr_of(max(0, done - 1)), training.lr_of(min(done, steps - 1))
        falls = "" if training.decay == "constant" else f", from where it falls to 0 ({training.decay})"
        caution(f"{folder}: {steps:,} steps instead of {before:,}; learning rate {was:.2g}, then {now:.2g}{falls}")
    return recipe.changed(steps=steps)


def _fitting(clock: Clock, folder: Path, done: int) -> int:
    """How many steps there are in all, if the clock runs down at the pace of those that were taken."""
    if not done:
        raise UserError(f"{folder}: has taken no steps yet, so nothing is known of its pace; give --steps")
    seconds = seconds_of(newest_facts(folder / STATE), folder / STATE)
    return done + max(1, round(clock.left * done / max(seconds, 1e-3)))


def check_any_length(recipe: Recipe) -> None:
    """Raises UserError for a loss whose stages depend on how many steps there will be."""
    if recipe.model.loss.staged:
        raise UserError(
            "this method has stages, planned by the number of steps, which is fixed from the start; train anew: --steps"
        )
