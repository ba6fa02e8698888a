"""Are samples copies of training rows? Their distance to the nearest one, beside that of held-out rows."""

from undiffuse.doctor.finding import Finding
from undiffuse.doctor.patient import Patient
from undiffuse.measure.memorise import memorisation

COPIED = 0.25  # share of samples nearer to a training row than all but the nearest hundredth of new data
NEARER = 0.7  # median distance of samples / of held-out rows


def memorised(patient: Patient) -> list[Finding]:
    """Whether many samples are nearer to a training row than new data ever is."""
    samples = patient.shown(patient.samples)
    found = memorisation(samples, patient.rows.z, patient.shown(patient.held_out.x))
    if found.copied < COPIED or found.distance > NEARER * found.held_out:
        return []
    said = "most samples are training rows drawn again; give it more data, a smaller network, or fewer steps"
    measured = "share of samples that are copies"
    command = patient.anew(f"--steps {max(1, patient.run.step // 4)}")
    return [Finding("memorised", measured, found.copied, f"about {found.quantile:.2g}", said, command)]
