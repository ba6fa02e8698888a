"""Are samples as bright, as colourful and as full of contrast as the data? Measured on the fine solution without
guidance, so that what is found is the network's doing."""

import math

import torch
from torch import Tensor

from undiffuse.data.dataset import form_of
from undiffuse.doctor.finding import Finding
from undiffuse.doctor.patient import Patient

SHIFT = 0.15  # of a channel's mean, in its deviations
CONTRAST = (0.85, 1.18)  # deviation of the samples / of the data
SURE = 4.0  # standard errors


def shift(patient: Patient) -> list[Finding]:
    """Whether the mean of a channel, or of a column, differs between samples and held-out data."""
    ours, theirs = _channels(patient, patient.samples), _channels(patient, patient.asked.x)
    ours, theirs = ours.mean(2), theirs.mean(2)  # one mean a row and channel
    distinct = min(len(theirs), len(patient.held_out))
    error = (ours.var(0) / len(ours) + theirs.var(0) / distinct).sqrt()
    off = ours.mean(0) - theirs.mean(0)
    wrong = (off.abs() > SHIFT) & (off.abs() > SURE * error)
    if not bool(wrong.any()):
        return []
    worst = int(torch.where(wrong, off.abs(), 0).argmax())
    number = float(off[worst])
    what = "brightness" if len(off) == 1 else f"channel {worst + 1}"
    if not form_of(patient.rows.data.kind).channels:
        names = patient.run.columns or [f"column {k + 1}" for k in range(len(off))]
        what = names[worst]
    sure = abs(number / float(error[worst]))
    said = f"{what} of the samples is off by {number:+.2g} deviations of the data, which is {sure:.0f} standard errors"
    measured = "mean of the samples - that of the data, in deviations"
    return [Finding("shift of brightness or colour", measured, number, f"within {SHIFT:g}", said, patient.longer())]


def contrast(patient: Patient) -> list[Finding]:
    """Whether samples vary as much as the data does."""
    ours, theirs = _channels(patient, patient.samples), _channels(patient, patient.asked.x)
    distinct = min(len(theirs), len(patient.held_out))
    squares = [(x - x.mean((0, 2), keepdim=True)).square().mean((1, 2)) for x in (ours, theirs)]
    variance = [float(square.mean()) for square in squares]
    counts = (len(ours), distinct)
    pairs = zip(squares, variance, counts, strict=True)
    error = 0.5 * math.sqrt(sum(float(s.var()) / count / v**2 for s, v, count in pairs))
    ratio = math.sqrt(variance[0] / variance[1])
    if CONTRAST[0] < ratio < CONTRAST[1] or abs(math.log(ratio)) < SURE * error:
        return []
    more = "more" if ratio > 1 else "less"
    said = f"samples vary {more} than the data: too {'strong' if ratio > 1 else 'weak'} a contrast"
    expected = "{} to {}".format(*CONTRAST)
    return [
        Finding("wrong contrast", "deviation of the samples / of the data", ratio, expected, said, patient.longer())
    ]


def _channels(patient: Patient, x: Tensor) -> Tensor:
    """In standard deviations, (rows, channels, places)."""
    return patient.shown(x).view(len(x), x.shape[1], -1)
