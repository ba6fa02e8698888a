"""Is guidance too strong? Samples with it and without it, from the same noise and for the same conditions."""

import torch
from torch import Tensor

from undiffuse.condition.label import combined, labels_of
from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient

SPREAD = 0.7  # deviation with guidance / without, for the same label
BEYOND, TIMES = 0.05, 3.0  # share of numbers beyond the data's range, and how many times that without guidance
MARGIN = 0.1  # by which that range is widened


def guidance(patient: Patient) -> list[Finding]:
    """How much spread is lost, and how much lies beyond the range of the data."""
    own, plain = patient.own, patient.plain
    if own is plain:
        raise DoesNotApply("no guidance")
    weight = own.plan.weight
    command = f"undiffuse sample {patient.word} --guidance {max(1.0, 0.5 * (1 + weight)):.3g}"
    groups = _groups(patient)
    spread = _spread(own.z.cpu(), groups) / max(_spread(plain.z.cpu(), groups), 1e-12)
    if spread < SPREAD:
        said = f"at a scale of {weight:g}, samples of one label are more alike than the model makes them by itself"
        measured = "deviation within a label with guidance / without"
        return [Finding("guidance too strong", measured, spread, f"at least {SPREAD:g}", said, command)]
    z = patient.encoded(patient.held_out)
    margin = MARGIN * (z.max() - z.min())
    low, high = z.min() - margin, z.max() + margin
    beyond, usual = (float(((x < low) | (x > high)).float().mean()) for x in (own.z, plain.z))
    if beyond > max(BEYOND, TIMES * usual):
        said = f"at a scale of {weight:g}, samples leave the range of the data, and saturate"
        measured = "share of numbers beyond the range of the data"
        return [Finding("guidance too strong", measured, beyond, f"at most {BEYOND:g}", said, command)]
    return []


def _groups(patient: Patient) -> Tensor:
    """The label that each sample was asked for, (count,); all the same without labels."""
    labels, _ = combined(labels_of(patient.asked.conditions, patient.run.specifications), patient.run.label_names)
    return torch.zeros(patient.count, dtype=torch.int64) if labels is None else labels


def _spread(z: Tensor, groups: Tensor) -> float:
    """The standard deviation around the mean of each group."""
    z = z.flatten(1)
    sums = sum(float((z[groups == one] - z[groups == one].mean(0)).square().sum()) for one in groups.unique())
    return (sums / z.numel()) ** 0.5
