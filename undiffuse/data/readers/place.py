"""The place of well-known data sets: a given path, or the folder of data sets that the environment names."""

import os
from pathlib import Path

from undiffuse.core.errors import UserError
from undiffuse.core.paths import path_of

FOLDERS = ("UNDIFFUSE_DATA", "UNDIFFUSE_TEST_DATA")  # of data sets, each in a folder of its own


def place(name: str, given: str | None, advice: str) -> Path:
    """The folder of the data set ``name``: ``given``, or ``$UNDIFFUSE_DATA/name``.

    Raises UserError if it is missing, with ``advice`` on where to get it.
    """
    if given is not None:
        path = path_of(given)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; {advice}")
        return path
    for variable in FOLDERS:
        path = path_of(os.environ.get(variable, "")) / name
        if os.environ.get(variable) and path.exists():
            return path
    raise UserError(
        f"the data set {name} is missing: {advice}, and either give its folder, --data.path FOLDER, or put it into "
        f"a folder of data sets, as {name}, that the variable UNDIFFUSE_DATA names"
    )
