"""Does the run's own sampler solve what it should? Its samples against a fine solution from the same noise.

The last step, from the grid's last noise level to the data, returns E[x_0 | x_t]: too high a level leaves samples that
are averages. What the steps before it err grows with their size, and in the worst case from step to step.
"""

import math

from undiffuse.doctor.finding import DoesNotApply, Finding
from undiffuse.doctor.patient import Patient

ERROR = 0.2  # root mean square, in deviations of the fine samples
LARGE = 1.3  # deviation of the samples / of the fine ones, from which a solver has blown up
LAST = 0.7  # sigma/alpha before the last step


def solver(patient: Patient) -> list[Finding]:
    """How far samples without guidance are from the fine solution."""
    plain, fine = patient.plain, patient.fine
    if fine is plain:
        raise DoesNotApply("there is no finer solution to compare with")
    spread = float(fine.z.std())
    larger = float(plain.z.std()) / max(spread, 1e-12)
    better = f"undiffuse compare {patient.word} --samplers {plain.plan.sampler},dpm++2m --steps 10,20,40"
    if larger > LARGE or not math.isfinite(larger):
        said = "errors grow from step to step; take more steps, or a sampler of a lower order"
        measured = "deviation of the samples / of a fine solution"
        return [Finding("the solver is unstable", measured, larger, f"at most {LARGE:g}", said, better)]
    schedule, last = patient.run.denoiser.process.schedule, plain.plan.times[-2]
    left = math.exp(-0.5 * schedule.at(last).log_snr)
    steps = len(plain.plan.times) - 1
    more = f"undiffuse sample {patient.word} --sampler dpm++2m --steps {max(20, 2 * steps)}"
    if steps > 1 and left > LAST:
        said = "the last step goes from so much noise straight to the data, so that samples are averages without detail"
        measured = "noise / signal before the last step"
        return [Finding("the grid ends too early", measured, left, f"at most {LAST:g}", said, more)]
    if plain.is_random:
        return []  # not from the same noise
    error = float((plain.z - fine.z).square().mean().sqrt()) / max(spread, 1e-12)
    if error <= ERROR:
        return []
    said = f"{steps} steps of {plain.plan.sampler} end far from where they should; take more, or another sampler"
    measured = "distance to a fine solution, in deviations"
    return [Finding("too few steps", measured, error, f"at most {ERROR:g}", said, more)]
