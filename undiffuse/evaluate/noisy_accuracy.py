"""The accuracy of a classifier of noisy data by noise level: from clean data to pure noise.

It guides by its gradient, which may be poor even where its answers are right; but it cannot guide to a label that it
cannot recognise.
"""

import math

import torch
from torch import Tensor

from undiffuse.condition.label import known
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.run.run import Run

LEVELS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # sigma/alpha, in standard deviations of the data
BATCH = 1000


@torch.no_grad()
def noisy_accuracy(run: Run, data: Dataset, seed: int = 0) -> dict[float, tuple[float, float]]:
    """For each level: the share of rows whose attributes are all right, and the share from guessing the most common
    label.

    Raises UserError for data without labels.
    """
    rows = None if data.labels is None else known(data.labels)
    if data.labels is None or rows is None or not rows.any():
        raise UserError(f"{data.name}: no labels; the accuracy of a classifier is measured on labelled data")
    x, labels = data.x[rows], data.labels[rows].reshape(int(rows.sum()), -1)
    commonest = float(labels.unique(dim=0, return_counts=True)[1].max()) / len(labels)
    return {level: (_accuracy(run, x, labels, level, seed), commonest) for level in LEVELS}


def _accuracy(run: Run, x: Tensor, labels: Tensor, level: float, seed: int) -> float:
    process = run.denoiser.process
    t = float(process.schedule.time(torch.tensor(-2 * math.log(level), dtype=torch.float64)))
    right = 0
    for first in range(0, len(x), BATCH):
        x_0 = run.codec.encode(x[first : first + BATCH].to(run.device))
        x_t = process.corrupt(x_0, t, SeededNoise(seed, first))
        predicted = torch.stack([every.argmax(1) for every in run.denoiser(x_t, t).values()], 1)
        right += int((predicted.cpu() == labels[first : first + BATCH]).all(1).sum())
    return right / len(x)
