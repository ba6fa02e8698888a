"""What a person sees while a training runs: a bar with the time left, and a line for every report."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from undiffuse.core.errors import shown


class _Speed(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} it/s" if task.speed and task.speed >= 10 else f"{task.speed or 0:.2f} it/s")


def lasting(seconds: float) -> str:
    """A time in words: 90 s, 12 minutes, 3.5 hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


class Watch:
    """A progress bar while this context is open; says nothing if ``quiet``."""

    def __init__(self, steps: int, done: int, quiet: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"))
        clocks = (_Speed(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *clocks, console=Console(stderr=True), disable=quiet)
        self._task = self._bar.add_task("training", total=steps, completed=done)
        self._loss = self._levels = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def step(self) -> None:
        """One step is over."""
        self._bar.advance(self._task)

    def plan(self, steps: int) -> None:
        """How many steps there will be in all."""
        self._bar.update(self._task, total=steps)

    def loss(self, loss: float) -> None:
        """The loss as of late."""
        self._loss = f"loss {loss:.4f}"
        self._describe()

    def levels(self, errors: str) -> None:
        """How well it does at little, some and much noise, as of the last report; nothing if that does not say."""
        self._levels = errors or self._levels
        self._describe()

    def _describe(self) -> None:
        self._bar.update(self._task, description=", ".join(filter(None, (self._loss, self._levels))) or "training")

    def say(self, line: str) -> None:
        """A line above the bar."""
        if not self._bar.disable:
            self._bar.console.print(shown(line), highlight=False, markup=False, emoji=False, soft_wrap=True)
