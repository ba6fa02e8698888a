"""Does half precision lose bits? The network in bfloat16 and in float32, where there is little noise."""

import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient

LOST = 0.1  # squared difference of the two / squared error of float32
LEVELS = 3  # the least noisy


def precision(patient: Patient) -> list[Finding]:
    """Whether rounding is a part of the error that counts."""
    if patient.run.recipe.training.precision != "bf16":
        raise DoesNotApply("no half precision")
    process, x_0 = patient.process, patient.encoded(patient.held_out)
    conditions = patient.conditions_of(patient.held_out)
    shares = []
    for log_snr in patient.log_snrs[-LEVELS:]:
        t = float(process.schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
        x_t = process.corrupt(x_0, t, SeededNoise(patient.seed))
        with torch.no_grad():
            whole, half = patient.run.denoiser(x_t, t, conditions), patient.denoise(x_t, t, conditions)
        shares.append(float((half - whole).square().mean() / (whole - x_0).square().mean().clamp(min=1e-12)))
    if max(shares) <= LOST:
        return []
    said = "near the data, what bfloat16 rounds away is as large as the noise that is to be told from it"
    measured = "squared error of rounding / of the network"
    command = patient.anew("--precision fp32")
    return [Finding("half precision loses bits", measured, max(shares), f"at most {LOST:g}", said, command)]
