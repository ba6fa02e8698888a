"""Errors that speak to the user: what was wrong, what was expected, what to type instead."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

SEEDS = 2**63
SHORT, LONG = 100, 600  # characters of a name, and of a line, that are shown


class UserError(ValueError):
    """A mistake by the user, in one line. The command line prints it without a traceback.

    ``usage`` is true for a wrong argument, such as an unknown sampler, and false for work that could not be done.
    """

    usage = False


class Caution(UserWarning):
    """Something that the user should know, and may intend. The command line prints it as one line, and goes on."""


def caution(message: str) -> None:
    """Warn in one line."""
    warnings.warn(message, Caution, stacklevel=3)


@contextmanager
def usage() -> Iterator[None]:
    """Every `UserError` raised in this context is wrong usage; also a decorator."""
    try:
        yield
    except UserError as error:
        error.usage = True
        raise


@usage()
def check_seed(seed: int) -> None:
    """Raises a UserError unless every generator accepts ``seed``."""
    if seed < 0:
        raise UserError(f"seed must be at least 0, not {seed}")
    if seed >= SEEDS:
        raise UserError(f"seed must be below 2^63, not {seed}")


def nearest(name: object, names: Iterable[str], what: str = "name") -> str:
    """One line for an unknown ``name``: the nearest valid ones first, or all of them if none is near."""
    known = sorted(names)
    close = get_close_matches(str(name)[:SHORT], known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} {shown(repr(name), SHORT)}; {shown(hint)}"


def shown(text: object, most: int = LONG) -> str:
    """One line that a terminal or a picture can show, of about ``most`` characters at most.

    Characters that cannot be printed (control characters, line ends, changes of direction, halves of surrogate pairs)
    are escaped. The middle of a longer line is left out.
    """
    line = str(text)
    if len(line) > most:
        line = f"{line[: most // 2]} ... ({len(line) - most:,} characters) ... {line[-(most - most // 2) :]}"
    return line if line.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
