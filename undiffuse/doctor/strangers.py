"""Which training rows does the model find strange? Rows whose error is far above that of the others: damaged, or of
another kind."""

import torch

from undiffuse.doctor.finding import Finding
from undiffuse.doctor.patient import Patient

LEVELS = (-2.0, 0.0, 2.0, -1.0, 1.0)  # log-SNR
FAR = 50.0  # error / the median row's
LISTED = 5
ROWS = 2048


def strange(patient: Patient) -> list[Finding]:
    """The rows of greatest error, by their place in the data."""
    data = patient.rows.data
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(patient.seed))[:ROWS]
    errors = patient.errors(data.take(chosen), log_snrs=list(LEVELS))
    error = (errors / errors.median(1, keepdim=True).values.clamp(min=1e-12)).mean(0)
    error = error / error.median()
    far = error > FAR
    if not bool(far.any()):
        return []
    worst = chosen[error.argsort(descending=True)][: int(far.sum())]
    listed = ", ".join(str(int(row) + 1) for row in worst[:LISTED])
    said = (
        f"{int(far.sum())} of {len(error):,} rows are unlike the others (rows {listed}); look at them, and remove them"
    )
    measured = "error of a training row / the median row's"
    command = f"undiffuse data {patient.word} --split train"
    return [Finding("outliers", measured, float(error.max()), f"at most {FAR:g}", said, command)]
