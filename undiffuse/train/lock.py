"""One training for each folder: a second one, started by hand or by a scheduler, is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from undiffuse.core.errors import UserError

NAME = ".lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder while this context is open. When the process dies, the system releases it in every case.

    Raises:
        UserError: Another process holds it. (Windows has no such locks: there, nothing is refused.)
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = folder / NAME
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: another process is training in it; wait for it, or stop it first") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
