"""The last evaluation of a run, kept in its folder as ``evaluation.json``, with the command that made it.

It belongs to one set of weights, whose fingerprint is beside it: of a run that was trained on since, it says nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from undiffuse.core.configuration import from_json
from undiffuse.core.errors import UserError, caution
from undiffuse.core.files import write_json
from undiffuse.measure.report import Report
from undiffuse.run.folder import RECIPE
from undiffuse.run.run import Run

FILE = "evaluation.json"
Value = str | int | float | None


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluation.json`` holds: a `Report` as plain values.

    Attributes:
        model: The `fingerprint` of the weights.
        command: What was typed; empty from Python.
        measures: Of each row its name, value, floor, ...; None where a number is not finite.
        protocol: How it was measured.
        labels: Label by label.
    """

    model: str
    command: str
    measures: tuple[dict[str, Value], ...]
    protocol: dict[str, Value]
    labels: tuple[dict[str, Value], ...] = ()


def keep_evaluation(run: Run, report: Report, command: str = "") -> Path | None:
    """Write it into the folder of the run, whole or not at all; None of what is no folder of ours, or read-only."""
    if not (run.folder / RECIPE).is_file():
        return None
    try:
        write_json(run.folder / FILE, {"model": run.fingerprint, "command": command, **report.to_json()})
    except UserError as error:
        caution(f"not kept: {error}")
        return None
    return run.folder / FILE


def kept_evaluation(run: Run) -> Evaluation | None:
    """The evaluation of the weights that the run has now; None if there is none. A damaged or older one is said."""
    path = run.folder / FILE
    if not path.is_file():
        return None
    try:
        found: Evaluation = from_json(Evaluation, path.read_bytes(), str(path))
    except UserError as error:
        caution(f"{error}; evaluate again: undiffuse evaluate {run.folder}")
        return None
    if found.model != run.fingerprint:
        caution(f"{path}: of other weights than the run has now; evaluate again: undiffuse evaluate {run.folder}")
        return None
    return found
