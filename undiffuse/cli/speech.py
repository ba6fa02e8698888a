"""Output on the terminal: it cannot move the cursor, is not read as markup, and has no endless lines.

Names, labels, texts and errors come from files and other libraries, so they are printed by these functions only.
"""

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from undiffuse.core.errors import Caution, shown

WIDEST = 1000  # characters of a line


def say(text: object) -> None:
    """Print ``text`` on stdout, in which line ends start new lines."""
    print("\n".join(shown(line, WIDEST) for line in str(text).split("\n")))


def say_each(*lines: str) -> None:
    """Print lines on stdout, without empty ones."""
    say("\n".join(filter(None, lines)))


def stream(text: str) -> None:
    """Print a piece of a text on stdout at once, without a line end after it."""
    print("\n".join(shown(line, WIDEST) for line in text.split("\n")), end="", flush=True)


def show(table: Any) -> None:
    """Print a table on stdout, as wide as the terminal, or 160 characters. Its texts are shown as by `say`."""
    from rich.console import Console
    from rich.text import Text

    class Terminal(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            lines = (shown(line, WIDEST) for line in text.split("\n"))
            return super().render_str("\n".join(lines), **how | {"markup": False, "emoji": False})

    Terminal(width=None if sys.stdout.isatty() else 160).print(table)


def complain(message: str) -> None:
    """Print one line on stderr."""
    print(f"undiffuse: {shown(' '.join(message.split()))}", file=sys.stderr)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Prints each `Caution`, and each warning or log line of a library, once and as one line."""
    said = set()

    def note(message: Warning | str, *where: Any, **how: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            complain(f"note: {message}")

    logged = logging.Handler(logging.WARNING)
    logged.emit = lambda record: note(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(logged)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", Caution)
            warnings.showwarning = note
            yield
    finally:
        logging.getLogger().removeHandler(logged)


def tracked(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """The same items, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, total, console=console, transient=True, disable=not console.is_terminal)
