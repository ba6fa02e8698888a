"""Why are samples bad? Questions to a run or to data, each answered by a measurement, and what mends it.

    diagnose_run(load("runs/digits")).findings           diagnose_data(open_data("photographs"), "photographs")

Checks are ordered from causes to symptoms: data, codec, schedule, training, sampling, samples. A check is a function
from what it examines to `Finding`s, in a file that names its idea.
"""

import time

import torch

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.doctor.autoencoder import autoencoder, latents
from undiffuse.doctor.averages import averages
from undiffuse.doctor.by_heart import memorised
from undiffuse.doctor.drawn import contrast, shift
from undiffuse.doctor.ends import scale, terminal
from undiffuse.doctor.finding import Check, Diagnosis, DoesNotApply, Finding, examined
from undiffuse.doctor.judge import judge
from undiffuse.doctor.levels import overfitted, untrained
from undiffuse.doctor.modes import modes
from undiffuse.doctor.of_data import alike, constant, copies, noisy_labels, outliers, scales, too_few
from undiffuse.doctor.patient import FINER, LEVELS, Patient
from undiffuse.doctor.precision import precision
from undiffuse.doctor.rate import rate
from undiffuse.doctor.solver import solver
from undiffuse.doctor.specimen import Specimen
from undiffuse.doctor.strangers import LEVELS as LEVELS_OF_STRANGERS
from undiffuse.doctor.strangers import ROWS as STRANGERS
from undiffuse.doctor.strangers import strange
from undiffuse.doctor.strength import guidance
from undiffuse.run.run import Run

__all__ = ["Diagnosis", "Finding", "diagnose_data", "diagnose_run", "seconds"]

FEWEST, SAMPLES = 8, 256  # samples: at least, and unless told otherwise

OF_DATA = (
    Check("number of rows", too_few),
    Check("copies", copies),
    Check("constant numbers", constant),
    Check("scales of columns", scales),
    Check("variety", alike),
    Check("outliers", outliers),
    Check("labels", noisy_labels),
)
OF_RUNS = (
    Check("scale", scale),
    Check("autoencoder", autoencoder),
    Check("latents", latents),
    Check("end of the schedule", terminal),
    Check("learning rate", rate),
    Check("averages", averages),
    Check("precision", precision),
    Check("noise levels", untrained),
    Check("overfitting", overfitted),
    Check("memorisation", memorised),
    Check("solver", solver),
    Check("guidance", guidance),
    Check("modes", modes),
    Check("brightness", shift),
    Check("contrast", contrast),
    Check("strange rows", strange),
    Check("judge", judge),
)


def diagnose_data(data: Dataset, target: str, seed: int = 0) -> Diagnosis:
    """What is wrong with data, before training; ``target`` is what the user calls it."""
    return examined(target, [(OF_DATA, Specimen(data, target, seed))])


def diagnose_run(run: Run, count: int = SAMPLES, seed: int = 0) -> Diagnosis:
    """What is wrong with a run and its data, measured on ``count`` held-out rows and as many samples.

    Raises UserError for a count below `FEWEST`.
    """
    if count < FEWEST:
        raise UserError(f"the doctor needs at least {FEWEST} samples, not {count}")
    patient = Patient(run, count, seed)
    return examined(str(run.folder), [(tuple(map(_of_its_rows, OF_DATA)), patient), (OF_RUNS, patient)])


def seconds(run: Run, count: int = SAMPLES) -> float:
    """About how long `diagnose_run` takes: the pace of one evaluation of the network, and how many there will be."""
    patient = Patient(run, count)
    try:
        x_0, process = patient.encoded(patient.held_out), patient.process
    except DoesNotApply:
        return 5.0
    conditions = patient.conditions_of(patient.held_out)
    with torch.no_grad():
        patient.denoise(x_0, 0.5, conditions)  # the first is slower
        began = time.monotonic()
        patient.denoise(process.corrupt(x_0, 0.5, SeededNoise(0)), 0.5, conditions)
    pace = (time.monotonic() - began) * count / len(x_0)
    own = run.plan(run.sampling)
    sampled = FINER + own.evaluations * (1 if own.weight == 1 else 3)
    kept = 1 + len(run.recipe.training.averages)
    rows = STRANGERS / count * len(LEVELS_OF_STRANGERS)
    return 5.0 + pace * (sampled + 2 * LEVELS + 5 * kept + rows)


def _of_its_rows(check: Check[Specimen]) -> Check[Patient]:
    """A question to the data of a run."""
    return Check(check.name, lambda patient: check.find(patient.rows))
