"""All that a training writes: the log, reports, the model, states to resume from; and the progress that the user
sees."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.recipe.training import Training
from undiffuse.run.folder import RECIPE, STATE
from undiffuse.train.held_out import low_middle_high
from undiffuse.train.log import Log
from undiffuse.train.product import Product
from undiffuse.train.progress import Watch, lasting
from undiffuse.train.state import Checkpoint, Facts, save_state
from undiffuse.train.trainer import WINDOW, Trainer
from undiffuse.train.verdict import waited

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

SETTLED = 3.0  # seconds after which the pace of a training is known


class Due(NamedTuple):
    """What is due after a step. Every process knows it, because all take part in gathering what the main one writes."""

    log: bool
    report: bool
    save: bool

    @classmethod
    def after(cls, step: int, training: Training, stopping: bool) -> Self:
        """As the training says, at the last step, and before stopping."""
        last = step == training.steps
        report = step % training.report_every == 0 or last
        return cls(
            log=step % WINDOW == 0 or last,
            report=report,
            save=step % training.save_every == 0 or last or stopping or (report and training.patience is not None),
        )


class Recorder:
    """Writes what is due; only the main process has a recorder. ``tensors`` are the trainer's, whole.

    Attributes:
        ending: How many seconds the last report and save took.

    Args:
        trainer: What is trained.
        folder: Where to write.
        product: What it makes.
        facts: Kept in every state.
        seconds: How long training took before it was resumed.
        quiet: Show no progress.
        trackers: Get what the log gets.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        product: Product,
        facts: Facts,
        seconds: float,
        quiet: bool,
        trackers: Sequence["GeneralTracker"] = (),
    ) -> None:
        self.trainer, self.folder, self.product, self.facts = trainer, folder, product, facts
        self._began = time.monotonic() - seconds
        self._saved, self.ending = trainer.done, 0.0
        self._told = False
        self._first: tuple[int, float] | None = None  # a step, and when it was done
        self._log = Log(folder, trainer.done, trackers)
        self._watch = Watch(trainer.recipe.training.steps, trainer.done, quiet)

    def __enter__(self) -> Self:
        self._watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watch.__exit__(*error)
        self._log.close()

    def after_step(self, due: Due, tensors: dict[str, Tensor]) -> None:
        """Log, report and save.

        Raises:
            UserError: The loss diverged, with where the last good state is; the disk is full.
        """
        self._watch.step()
        self._tell_how_long()
        if due.log:
            self._write_log()
        began = time.monotonic()
        if due.report:
            self._watch.say(self.product.report(tensors, self._log, self._seconds()))
            self._watch.levels(low_middle_high(self._log.lines()[-1]))
        if due.save:
            self._read()  # nothing that diverged is saved
            if self.trainer.recipe.training.patience is None or (due.report and not self.waited):
                self.product.save(tensors, self._seconds())
            self.save_state(tensors)
        if due.report:
            self.ending = time.monotonic() - began

    @property
    def waited(self) -> int:
        """How many reports there were since the one with the least held-out loss."""
        return waited(self._log.lines())

    @property
    def enough(self) -> bool:
        """Whether as many reports as patience allows were no better."""
        patience = self.trainer.recipe.training.patience
        return patience is not None and self.waited >= patience

    def say(self, line: str) -> None:
        """A line for the user, if it is not empty."""
        if line:
            self._watch.say(line)

    def planned_anew(self) -> None:
        """The recipe has another number of steps, after the newest state was saved."""
        self.trainer.recipe.save(self.folder / RECIPE)
        self._watch.plan(self.trainer.recipe.training.steps)

    def save_state(self, tensors: dict[str, Tensor]) -> None:
        """What resuming from here needs."""
        self._log.sync()
        facts = self.facts | {"seconds": self._seconds(), "threads": torch.get_num_threads()}
        save_state(self.folder / STATE, Checkpoint(self.trainer.done, tensors, facts))
        self._saved = self.trainer.done

    def _tell_how_long(self) -> None:
        """Once, when some steps after the first have shown the pace; the first begins much that stays."""
        training, now = self.trainer.recipe.training, time.monotonic()
        self._first = self._first or (self.trainer.done, now)
        done, began = self._first
        if self._told or self.trainer.done == done or now - began < SETTLED:
            return
        self._told = True
        left = (training.steps - self.trainer.done) * (now - began) / (self.trainer.done - done)
        if left > SETTLED:
            what = f"about {lasting(left)} for {training.steps - self.trainer.done:,} steps"
            self._watch.say(f"{what}, and reports every {training.report_every:,}")

    def _write_log(self) -> None:
        losses, norms = self._read()
        numbers = {"loss": fmean(losses), "gradient norm": fmean(norms), "learning rate": self._lr()}
        self._log.write(self.trainer.done, numbers)
        self._watch.loss(numbers["loss"])

    def _read(self) -> tuple[list[float], list[float]]:
        try:
            return self.trainer.read()
        except UserError as error:
            raise UserError(f"{error}; the state after step {self._saved:,} is in {self.folder}") from None

    def _lr(self) -> float:
        return self.trainer.lr(self.trainer.done - 1)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)
