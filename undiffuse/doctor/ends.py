"""Does sampling begin in noise, and does what diffuses have the scale that the schedule assumes?

The state x_1 = alpha x_0 + sigma z must tell nothing of x_0, because sampling begins with noise that does not. Along an
axis of variance l it tells, of Gaussian data, 1/2 log(1 + l alpha^2/sigma^2) nats. Pictures have one axis that is far
stronger than all others, their brightness, so it is there that a schedule which ends too early is seen: samples are all
of medium brightness (Lin et al. 2023).
"""

import math

import torch

from undiffuse.doctor.finding import Finding
from undiffuse.doctor.patient import Patient
from undiffuse.doctor.reference import Wiener

NATS = 0.05  # that the first state may tell along the strongest axis
SCALE, MEAN = (0.8, 1.25), 0.2  # of encoded data: deviation, and mean


def terminal(patient: Patient) -> list[Finding]:
    """What the schedule's last state, and the grid's first, still tell of the data."""
    process = patient.process
    largest = Wiener(process, patient.encoded(patient.train)).largest
    told = {
        cause: 0.5 * math.log1p(largest * math.exp(process.schedule.at(t).log_snr))
        for cause, t in (
            ("the schedule ends before the noise", 1.0),
            ("the grid begins after the noise", patient.plain.plan.times[0]),
        )
    }
    said = "the network learned to read the data in what sampling replaces by noise, so samples are too average"
    commands = (
        patient.anew("--schedule cosine", "--prediction v"),
        f"undiffuse sample {patient.word} --grid trailing",
    )
    for (cause, nats), command in zip(told.items(), commands, strict=True):
        if nats > NATS:
            measured = "nats that the first state tells along the strongest axis"
            return [Finding(cause, measured, nats, f"at most {NATS:g}", said, command)]
    return []


def scale(patient: Patient) -> list[Finding]:
    """Whether encoded data has mean 0 and deviation 1, channel by channel."""
    z = torch.cat([patient.encoded(patient.train), patient.encoded(patient.held_out)]).transpose(0, 1).flatten(1)
    z = z[z.std(1) > 1e-6]
    rows = len(patient.train) + len(patient.held_out)
    std, mean = z.std(1), z.mean(1)
    worst = int(std.log().abs().argmax())
    said = "the schedule assumes deviation 1: the noise is too much for smaller data, and too little for larger"
    command = patient.anew("--codec standard") if patient.run.codec.in_place else patient.anew()
    found = []
    if not SCALE[0] < float(std[worst]) < SCALE[1] and abs(math.log(float(std[worst]))) > 4 / math.sqrt(rows):
        number, expected = float(std[worst]), "{} to {}".format(*SCALE)
        found.append(Finding("wrong scale of what diffuses", "its deviation", number, expected, said, command))
    off = float(mean.abs().max())
    if not found and off > max(MEAN, 4 / math.sqrt(rows)):
        said = "the schedule assumes mean 0; is it the data that the run was trained on?"
        found.append(Finding("wrong mean of what diffuses", "its mean", off, f"at most {MEAN:g}", said, command))
    return found
