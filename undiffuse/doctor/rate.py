"""Was the learning rate too high? What the log of the training says: losses that jump, gradients that are cut."""

import json
from statistics import median
from typing import Any

from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient

LOG = "log.jsonl"
LINES = 4  # at least
JUMP = 1.5  # a loss / the median of the five before it
CUT = 5.0  # the median gradient norm / the largest that is not cut


def rate(patient: Patient) -> list[Finding]:
    """Whether the loss jumped, or steps were cut all along."""
    lines = [line for line in _lines(patient) if "loss" in line and "gradient norm" in line]
    if len(lines) < LINES:
        raise DoesNotApply(f"the log has fewer than {LINES} lines")
    training = patient.run.recipe.training
    command = patient.anew(f"--lr {training.lr / 4:.3g}")
    losses = [float("inf") if line["loss"] is None else line["loss"] for line in lines]
    jumps = [losses[k] / max(median(losses[max(0, k - 5) : k]), 1e-12) for k in range(1, len(losses))]
    if max(jumps) > JUMP:
        step = lines[1 + jumps.index(max(jumps))]["step"]
        said = f"around step {step:,} the loss rose instead of falling; lower it, or warm up for longer"
        measured = "loss / the median of the lines before it"
        return [Finding("learning rate at its edge", measured, max(jumps), f"at most {JUMP:g}", said, command)]
    cut = median(line["gradient norm"] or float("inf") for line in lines[len(lines) // 2 :]) / training.clip
    if cut > CUT:
        said = "nearly all steps were cut to their largest length, so the direction of each is mostly noise"
        measured = "median gradient norm / the largest that is kept"
        return [Finding("learning rate at its edge", measured, cut, f"at most {CUT:g}", said, command)]
    return []


def _lines(patient: Patient) -> list[dict[str, Any]]:
    path = patient.run.folder / LOG
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in map(json.loads, lines) if isinstance(line, dict)]
    except (OSError, ValueError):
        raise DoesNotApply(f"{path} is missing or damaged") from None
