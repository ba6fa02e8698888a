"""Are the weights averaged over too long or too short a time? The held-out error of each average that was kept, and of
the last weights."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient
from undiffuse.run.folder import STATE
from undiffuse.train.state import load_state

BETTER = 0.9  # error of other weights / of those that sample
LEVELS = 5
SURE = 4.0  # standard errors


def averages(patient: Patient) -> list[Finding]:
    """Whether other weights of the last state have less error."""
    widths = patient.run.recipe.training.averages
    errors = dict(_errors(patient))
    used = errors.pop(widths[0])
    scale = used.mean(1, keepdim=True).clamp(min=1e-12)
    ratios = {width: (theirs / scale).mean(0) for width, theirs in errors.items()}
    base = (used / scale).mean(0)
    width, best = min(ratios.items(), key=lambda pair: float(pair[1].mean()))
    ratio, gain = float(best.mean() / base.mean()), base - best
    if ratio > BETTER or float(gain.mean()) < SURE * float(gain.std()) / len(gain) ** 0.5:
        return []
    longer = width < widths[0]
    told = "the last weights" if width == 0 else f"the average of width {width:g}"
    said = f"{told} make less error than the average of width {widths[0]:g} that samples"
    cause = f"the average of the weights is too {'long' if longer else 'short'}"
    other = max(0.01, widths[0] / 4) if width == 0 else width
    measured = "held-out error of other weights / of those that sample"
    return [Finding(cause, measured, ratio, f"at least {BETTER:g}", said, patient.anew(f"--averages {other:g}"))]


def _errors(patient: Patient) -> Iterator[tuple[float, Tensor]]:
    """The held-out errors, (levels, rows), by the width of the average; 0 is the last weights."""
    _ = patient.process  # or it does not apply
    try:
        state = load_state(patient.run.folder / STATE)
    except UserError as error:
        raise DoesNotApply(str(error)) from None
    if state is None:
        raise DoesNotApply("no saved state")
    log_snrs = torch.linspace(patient.log_snrs[0], patient.log_snrs[-1], LEVELS).tolist()
    names = [name for name, _ in patient.run.denoiser.named_parameters()]
    widths = patient.run.recipe.training.averages
    kept = {width: f"average {width:g}." for width in widths} | {0.0: "objective.denoiser."}
    for width, prefix in kept.items():
        if any(prefix + name not in state.tensors for name in names):
            raise DoesNotApply("the saved state is of another model")
        denoiser = copy.deepcopy(patient.run.denoiser)
        for name, weight in denoiser.named_parameters():
            weight.copy_(state.tensors[prefix + name])
        yield width, patient.errors(patient.held_out, patient.run.in_half(denoiser.__call__), log_snrs)
