"""The log of a training: a JSON object a line in ``log.jsonl``, and the same for TensorBoard.

A number that is not finite is written as null: JSON has no infinity.

What is logged is a function of the recipe alone (no clock), so the log of a run that was killed and resumed equals,
byte for byte, that of a run that never stopped.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.core.configuration import from_json
from undiffuse.core.errors import UserError
from undiffuse.core.files import write_text

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker
    from PIL.Image import Image


class Log:
    """``folder/log.jsonl`` and ``folder/tensorboard/``, without the entries after ``step``; and ``trackers``."""

    def __init__(self, folder: Path, step: int, trackers: Sequence["GeneralTracker"] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.trackers = trackers
        self.path = folder / "log.jsonl"
        write_text(self.path, "".join(_until(self.path, step)))
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """One line, and a curve for every number."""
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._file.write(json.dumps({"step": step} | dict.fromkeys(numbers) | finite, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in finite.items():
            self._board.add_scalar(name, value, step)
        for tracker in self.trackers:
            tracker.log(finite, step=step)

    def picture(self, step: int, name: str, image: "Image") -> None:
        """A picture for TensorBoard, and for the trackers that take pictures."""
        import numpy as np

        self._board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        for tracker in self.trackers:
            if hasattr(tracker, "log_images"):
                tracker.log_images({name: [image]}, step=step)

    def lines(self) -> list[dict[str, Any]]:
        """All that was written so far, oldest first."""
        return lines(self.path)

    def sync(self) -> None:
        """Flush the log to disk before a state that depends on it is saved."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._board.close()


def lines(path: Path) -> list[dict[str, Any]]:
    """The numbers of a log, a line each, oldest first. Raises UserError for an invalid line."""
    return [_read(line, f"{path}: line {k + 1}") for k, line in enumerate(path.read_text("utf-8").splitlines())]


def _until(path: Path, step: int) -> list[str]:
    """The whole lines up to a step."""
    if not path.is_file():
        return []
    found = path.read_bytes().decode("utf-8", errors="replace").splitlines(keepends=True)
    whole = [(_read(line, f"{path}: line {k + 1}"), line) for k, line in enumerate(found) if line.endswith("\n")]
    return [line for values, line in whole if values["step"] <= step]


def _read(line: str, where: str) -> dict[str, Any]:
    """The numbers of a line. Raises UserError, beginning with ``where``, for an invalid line."""
    values: dict[str, int | float | None] = from_json(dict[str, int | float | None], line, where)
    if values.get("step") is None:
        raise UserError(f"{where}: no line of a log, it has no step; remove it")
    return values
