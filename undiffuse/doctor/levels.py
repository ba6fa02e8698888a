"""At which noise levels is the network untrained, and does it know its training rows better than others?"""

import math

import torch
from torch import Tensor

from undiffuse.doctor.finding import Finding
from undiffuse.doctor.patient import Patient
from undiffuse.doctor.reference import references

WORSE = 1.1  # error / that of the reference
SEEN = 0.05  # alpha times the root of the excess error, as a share of x_t, below which nobody sees it
GAP = 1.3  # held-out error / training error
MIDDLE = 5.0  # |log-SNR| below which knowing a row by heart shows
SURE = 3.0  # standard errors
ROWS = 4096  # of the reference


def untrained(patient: Patient) -> list[Finding]:
    """Whether the held-out error is above the reference, level by level."""
    training = patient.rows.data
    chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(patient.seed))[:ROWS]
    x_0 = patient.encoded(training.take(chosen))
    theirs = [patient.errors(patient.held_out, reference) for reference in references(patient.process, x_0)]
    ours, best = patient.held_out_errors, _best(torch.stack(theirs))
    ratio = ours.mean(1) / best.mean(1).clamp(min=1e-12)
    excess = (ours - best).mean(1) * torch.tensor(patient.log_snrs).sigmoid()
    sure = (ours - best).mean(1) > SURE * (ours - best).std(1) / math.sqrt(ours.shape[1])
    unlearned = patient.train_errors.mean(1) > best.mean(1)  # else it is known by heart
    sick = ((ratio > WORSE) & (excess > SEEN**2) & sure & unlearned).tolist()
    if not any(sick):
        return []
    levels = [level for level, is_sick in zip(patient.log_snrs, sick, strict=True) if is_sick]
    where = _where(levels, patient.log_snrs)
    said = f"at log-SNR {levels[0]:.0f} to {levels[-1]:.0f} the network does worse than a formula without training"
    worst = float(ratio[torch.tensor(sick)].max())
    measured = "held-out error / that of a reference without training"
    return [Finding(f"untrained at {where}", measured, worst, f"at most {WORSE:g}", said, patient.longer())]


def overfitted(patient: Patient) -> list[Finding]:
    """Whether held-out rows are denoised worse than training rows."""
    middle = torch.tensor([abs(level) < MIDDLE for level in patient.log_snrs])
    seen, new = (errors[middle] for errors in (patient.train_errors, patient.held_out_errors))
    scale = seen.mean(1, keepdim=True).clamp(min=1e-12)
    seen, new = (seen / scale).mean(0), (new / scale).mean(0)
    error = math.hypot(float(seen.std()) / len(seen) ** 0.5, float(new.std()) / len(new) ** 0.5)
    ratio = float(new.mean() / seen.mean())
    if ratio < GAP or float(new.mean() - seen.mean()) < SURE * error:
        return []
    said = "the network has learned its training rows by heart; give it more data, a smaller network, or fewer steps"
    command = patient.anew(f"--steps {max(1, patient.run.step // 2)}")
    return [Finding("overfitted", "held-out error / training error", ratio, f"at most {GAP:g}", said, command)]


def _best(errors: Tensor) -> Tensor:
    """At each level that of the reference whose mean is less, (levels, rows); errors (references, levels, rows)."""
    which = errors.mean(2).argmin(0)
    return errors[which, torch.arange(errors.shape[1])]


def _where(levels: list[float], every: list[float]) -> str:
    """Levels in words."""
    third = len(every) // 3
    names = {"high": every[:third], "middle": every[third:-third], "low": every[-third:]}
    sick = [name for name, of in names.items() if set(of) & set(levels)]
    return "all noise levels" if len(sick) == len(names) else f"{' and '.join(sick)} noise"
