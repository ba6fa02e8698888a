"""A run in the words of other programs.

    export(load("runs/digits"), "diffusers", "digits-pipeline")

A target writes its files into an empty folder, and says in a line what it wrote and how far its answers are from the
run's. The folder is there with all of them or not at all. A target raises UserError for a run that it cannot say, and
names the part.
"""

from collections.abc import Callable
from pathlib import Path

from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.files import write_folder
from undiffuse.core.paths import path_of
from undiffuse.export.diffusers import to_diffusers
from undiffuse.export.onnx import to_onnx
from undiffuse.run.run import Run

TARGETS: dict[str, Callable[[Run, Path], str]] = {"diffusers": to_diffusers, "onnx": to_onnx}


def export(run: Run, to: str, out: str | Path) -> str:
    """Write the run into a new folder; returns a line on what was written.

    Raises UserError for an unknown target, a folder that is there already, and a run that the target cannot say.
    """
    out = path_of(out)
    with usage():
        if to not in TARGETS:
            raise UserError(nearest(to, TARGETS, "target"))
        if out.exists():
            raise UserError(f"{out}: exists already; choose another --out")
    said = ""

    def write(folder: Path) -> None:
        nonlocal said
        said = TARGETS[to](run, folder)

    write_folder(out, write)
    return said
