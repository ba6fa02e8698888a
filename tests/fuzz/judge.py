"""Run one command line in this process, and say what is wrong with its answer: nothing, if all is well.

Whatever is asked, and whatever the files hold, the answer is an exit code of 0, 1 or 2; on failure one line on stderr
that speaks to the user; no traceback, nothing that moves the cursor, no line without end, in seconds and within memory.
"""

import io
import signal
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from undiffuse.cli import main

SECONDS = 20  # of the processor: a machine may be shared
GROWTH = 1 << 30  # bytes that one command may take
LONGEST = 2000  # characters a line


class Hang(BaseException):
    """A command that takes too long."""


@dataclass(frozen=True)
class Answer:
    """What a command said, and what is wrong with that."""

    code: int
    out: str
    err: str
    faults: tuple[str, ...]


def answer(words: Sequence[str]) -> Answer:
    """What ``undiffuse WORDS`` answers."""
    out, err = _terminal("strict"), _terminal("backslashreplace")
    before, began = _resident(), time.process_time()
    faults = []
    with redirect_stdout(out), redirect_stderr(err), _limited():
        try:
            code = main(list(words))
        except BaseException as error:
            code = -1
            faults.append(f"raises {type(error).__name__}: {error}")
    said, complained = _read(out), _read(err)
    if "Hang" in complained or time.process_time() - began > SECONDS:
        faults.append("hangs")
    if _resident() - before > GROWTH:
        faults.append("grows")
    shown = "" if "--json" in words else said  # one object on one line, however long
    return Answer(code, said, complained, tuple(faults) + tuple(_faults(code, shown, complained)))


def _faults(code: int, out: str, err: str) -> Iterator[str]:
    if code not in (0, 1, 2):
        yield f"exit code {code}"
    if "UNDIFFUSE_DEBUG" in err:
        yield "generic"
    if "Traceback" in err or "Traceback" in out:
        yield "traceback"
    lines = err.splitlines()
    if code and len([line for line in lines if not line.startswith("undiffuse: note: ")]) != 1:
        yield f"{len(lines)} lines of complaint"
    if any(not line.startswith("undiffuse: ") for line in lines):
        yield "not in our name"
    if moving := {letter for letter in out + err if letter not in "\n\t" and unicodedata.category(letter) in BARRED}:
        yield f"control characters {moving!r}"
    if any(len(line) > LONGEST for line in (*lines, *out.splitlines())):
        yield "a line without end"


BARRED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, direction and other invisible ones, halves of pairs, line ends


def _terminal(errors: str) -> io.TextIOWrapper:
    """As Python opens stdout and stderr."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, newline="")


def _read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextmanager
def _limited() -> Iterator[None]:
    """Stopped after some seconds of work, or thirty times as many of waiting, wherever the system has alarms."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    alarms = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, 30 * SECONDS))
    before = [(number, signal.signal(number, stop)) for number, _, _ in alarms]
    for _, timer, seconds in alarms:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for _, timer, _ in alarms:
            signal.setitimer(timer, 0)
        for number, handler in before:
            signal.signal(number, handler)


def _resident() -> int:
    """The most memory this process ever held, as Linux says."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
