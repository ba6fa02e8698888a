"""Does the autoencoder lose detail or colour, and are its latents what diffusion expects?"""

import torch
from torch import Tensor

from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient

SHARP = 0.7  # variance of the differences of neighbours, decoded / real
ERROR = 0.5  # root mean square of what is lost, in deviations, where there are no neighbours
SHIFT = 0.15  # of a channel's mean, in deviations
TAILS = 10.0  # kurtosis of a latent channel; 3 is normal


def autoencoder(patient: Patient) -> list[Finding]:
    """What held-out rows lose on the way to their latents and back."""
    x, back = _both_ways(patient)
    command = patient.anew(f"--codec.fit.steps {2 * _steps(patient)}")
    off = (back - x).mean((0, *range(2, x.ndim)))
    worst = int(off.abs().argmax())
    found = []
    if abs(shift := float(off[worst])) > SHIFT:
        said = f"channel {worst + 1} of what is decoded is too {'bright' if shift > 0 else 'dark'}, whatever is drawn"
        measured, expected = "mean after decoding - before, in deviations", f"within {SHIFT:g}"
        found.append(Finding("the autoencoder shifts colours", measured, shift, expected, said, command))
    sharp = _detail(back) / max(_detail(x), 1e-12) if x.ndim > 2 else 1.0
    if sharp < SHARP:
        said = "no sample can be sharper than what the autoencoder decodes; fit it for longer, or give it more latents"
        measured = "variance between neighbouring pixels, decoded / real"
        found.append(Finding("the autoencoder blurs", measured, sharp, f"at least {SHARP:g}", said, command))
    lost = float((back - x - (back - x).mean(0)).square().mean().sqrt())
    if x.ndim == 2 and lost > ERROR:
        said = "rows do not come back from their latents; fit it for longer, or give it more latents"
        measured = "what is lost, in deviations"
        found.append(Finding("the autoencoder blurs", measured, lost, f"at most {ERROR:g}", said, command))
    return found


def latents(patient: Patient) -> list[Finding]:
    """Whether latents have tails that a schedule does not expect."""
    _codec(patient)
    z = patient.encoded(patient.train).transpose(0, 1).flatten(1)
    z = z - z.mean(1, keepdim=True)
    tails = z.pow(4).mean(1) / z.square().mean(1).square().clamp(min=1e-12)
    worst = float(tails.max())
    if worst <= TAILS:
        return []
    said = f"latent {int(tails.argmax()) + 1} is mostly near 0 and rarely very large; weigh its cost more (kl)"
    command = patient.anew("--codec.fit.kl 1")
    return [Finding("latents are not normal", "kurtosis of a latent", worst, f"at most {TAILS:g}", said, command)]


def _codec(patient: Patient) -> None:
    patient.require_numbers()
    if not patient.run.codec.encoded_once:
        raise DoesNotApply("no autoencoder")


@torch.no_grad()
def _both_ways(patient: Patient) -> tuple[Tensor, Tensor]:
    """Held-out rows and what is decoded of them, in standard deviations, (rows, *shape)."""
    _codec(patient)
    x = patient.held_out.x
    back = torch.cat(
        [patient.run.codec.decode(z).cpu() for z in patient.encoded(patient.held_out).split(patient.run.batch)]
    )
    return patient.shown(x).view(x.shape), patient.shown(back).view(x.shape)


def _detail(x: Tensor) -> float:
    """The variance of the differences between neighbours along the last axis."""
    return float(x.diff(dim=-1).square().mean())


def _steps(patient: Patient) -> int:
    fit = getattr(patient.run.recipe.codec, "fit", None)
    return fit.steps if fit else patient.run.recipe.training.steps
