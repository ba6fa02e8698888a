"""Runs side by side: how far each is and what it measured last, from its files alone; no model is opened."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_metadata
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.folder import MODEL, RECIPE
from undiffuse.train.progress import lasting

if TYPE_CHECKING:
    from rich.table import Table

LOG = "log.jsonl"
NO_MEASURES = ("gradient norm", "learning rate")  # of the log's numbers


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        folder: Where it lies.
        data, net: What it learns from, and with; in a word each.
        steps, of: Done, and asked for.
        seconds: Of training; None as long as no model is saved.
        numbers: The loss, and what the last report measured.
        fault: Why it cannot be read; empty if it can.
    """

    folder: str
    data: str = ""
    net: str = ""
    steps: int = 0
    of: int = 0
    seconds: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)


def runs(folder: Path) -> list[Line]:
    """Every run in a folder, or in folders below it, by name. Raises UserError if there is none."""
    found = sorted(path.parent for path in folder.glob(f"**/{RECIPE}"))
    outermost = [path for path in found if not any(other in path.parents for other in found)]
    if not outermost:
        raise UserError(f"{folder}: no run in it; make one with: undiffuse train RECIPE --out {folder / 'NAME'}")
    return [_line(path) for path in outermost]


def _line(folder: Path) -> Line:
    try:
        recipe = Recipe.load(folder / RECIPE)
        steps, numbers = _last(folder / LOG)
        facts = read_metadata(folder / MODEL) if (folder / MODEL).is_file() else {}
        return Line(
            str(folder),
            str(getattr(recipe.data, "name", kebab(type(recipe.data).__name__))),
            kebab(type(recipe.model.net).__name__),
            steps,
            recipe.training.steps,
            float(facts["seconds"]) if "seconds" in facts else None,
            numbers,
        )
    except (UserError, OSError, ValueError) as error:
        return Line(str(folder), fault=str(error))


def _last(log: Path) -> tuple[int, dict[str, float]]:
    """The last step of a log, and the last value of each measure; a line that is cut off is left out."""
    steps, numbers = 0, dict[str, float]()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else ():
        try:
            values = json.loads(line)
            steps = int(values.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        numbers |= {k: v for k, v in values.items() if k not in NO_MEASURES and isinstance(v, int | float)}
    return steps, numbers


def table(lines: list[Line]) -> "Table":
    """For rich's ``print``."""
    from rich.table import Table

    found = Table()
    for name in ("run", "data", "network", "steps", "time", "last measured"):
        found.add_column(name, justify="right" if name in ("steps", "time") else "left")
    for line in lines:
        if line.fault:
            found.add_row(line.folder, "", "", "", "", line.fault)
            continue
        steps = f"{line.steps:,}" if line.steps == line.of else f"{line.steps:,} of {line.of:,}"
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in line.numbers.items())
        found.add_row(
            line.folder, line.data, line.net, steps, "" if line.seconds is None else lasting(line.seconds), numbers
        )
    return found
