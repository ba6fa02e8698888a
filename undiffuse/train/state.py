"""What a training needs to resume, on disk: tensors in safetensors, numbers in JSON, no pickle.

A state is two files, ``STEP.safetensors`` and then ``STEP.json``, which holds the size and the checksum of the first:
a state exists once its JSON does. The previous state stays until the next one is complete, and one more after that,
so that after a kill at any moment, a full disk or a damaged file, one state to resume from remains.
"""

import json
import math
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from undiffuse.core.configuration import from_json, to_values
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_json, write_tensors

KEPT = 2  # states on disk
Facts = dict[str, int | float | tuple[int, ...]]  # of the data that a training goes on with, and how long it took


@dataclass(frozen=True)
class Checkpoint:
    """A training after ``step`` steps."""

    step: int
    tensors: dict[str, Tensor]
    facts: Facts
    passed_over: str = ""  # why a newer state on disk could not be used


@dataclass(frozen=True)
class _Written:
    """A state's JSON; the first three fields describe its tensors."""

    step: int
    bytes: int
    crc32: int
    facts: Facts


def save_state(folder: Path, state: Checkpoint) -> None:
    """Write a state, then remove all but the newest ``KEPT``.

    Raises:
        UserError: The disk is full; the states that were there are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{state.step:09d}"
    tensors = folder / f"{name}.safetensors"
    write_tensors(tensors, state.tensors)
    facts = {"step": state.step, "bytes": tensors.stat().st_size, "crc32": _checksum(tensors)}
    write_json(folder / f"{name}.json", facts | {"facts": to_values(state.facts)})
    written = [path for path in _newest_first(folder) if path.stem <= name]
    for path in folder.iterdir():
        if path.stem not in {kept.stem for kept in written[:KEPT]}:
            path.unlink(missing_ok=True)


def load_state(folder: Path) -> Checkpoint | None:
    """The newest complete state; None if none was ever written.

    Raises:
        UserError: There are states, but none of them is complete.
    """
    problem = ""
    for path in _newest_first(folder):
        try:
            return _read(path, problem)
        except UserError as error:
            problem = problem or str(error)
    if problem:
        raise UserError(f"{problem}; no other saved state is whole: train again")
    return None


def _read(path: Path, passed_over: str) -> Checkpoint:
    tensors = path.with_suffix(".safetensors")
    try:
        written = from_json(_Written, path.read_bytes(), str(path))
    except UserError as error:
        raise UserError(f"{error}; truncated, or not a saved state") from None
    if not tensors.is_file() or tensors.stat().st_size != written.bytes or _checksum(tensors) != written.crc32:
        raise UserError(f"{tensors}: missing, truncated or damaged")
    return Checkpoint(written.step, read_tensors(tensors)[0], written.facts, passed_over)


def newest_facts(folder: Path) -> Mapping[str, Any]:
    """The facts of the newest state, without its tensors; empty where there is none that can be read."""
    for path in _newest_first(folder):
        with suppress(ValueError, OSError):
            held = json.loads(path.read_text(encoding="utf-8"))
            return held["facts"] if isinstance(held, dict) and isinstance(held.get("facts"), dict) else {}
    return {}


def newest_step(folder: Path) -> int:
    """How many steps the newest state was taken after; 0 where there is none."""
    return max((int(path.stem) for path in _newest_first(folder)), default=0)


def seconds_of(facts: Mapping[str, Any], folder: Path) -> float:
    """How long the training took until a state with these facts. Raises UserError where they do not say it."""
    seconds = facts.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise UserError(f"{folder}: does not say how many seconds the training took so far")
    return seconds


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.json") if path.stem.isdigit()), reverse=True)


def _checksum(path: Path) -> int:
    """CRC-32 of a file, read in pieces."""
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            checksum = zlib.crc32(piece, checksum)
    return checksum
