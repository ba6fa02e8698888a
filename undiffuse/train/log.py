"""The log of a training: a JSON object a line in ``log.jsonl``, and the same for TensorBoard.

What is no finite number is null: JSON has no infinity.

What is logged is a function of the recipe alone (no clock), so that a run that was killed and resumed has, byte for
byte, the log of one that never stopped.
"""

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undiffuse.core.files import write_text

if TYPE_CHECKING:
    from PIL.Image import Image


class Log:
    """``folder/log.jsonl`` and ``folder/tensorboard/``, without what they say of steps after ``step``."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

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

    def picture(self, step: int, name: str, image: "Image") -> None:
        """A picture for TensorBoard."""
        import numpy as np

        self._board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def sync(self) -> None:
        """Onto the disk, before a state that counts on it is."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without a last one that was cut off."""
    return [json.loads(line) for line in _until(folder / "log.jsonl", None)]


def _until(path: Path, step: int | None) -> list[str]:
    """The whole lines up to a step, or all of them."""
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if step is None or json.loads(line)["step"] <= step]
