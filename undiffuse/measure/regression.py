"""How well samples agree with a numeric condition, as a regression fitted to data reads it.

A gradient-boosted regression is fitted to training rows and predicts the condition from a row. R² compares what it
predicts from each sample with the condition c that the sample was given:

    R² = 1 - sum (c - predicted)² / sum (c - mean c)²

1 is perfect; 0 is no better than predicting the mean. The R² of held-out rows says how much the regression can read at
all. Wide rows (pictures) are first reduced to their principal components.
"""

import numpy as np
import torch
from torch import Tensor

from undiffuse.measure.two_sample import SEEDS

COMPONENTS = 32  # principal components of rows with more numbers than that
ROWS = 20_000  # to which the regression is fitted, at most

Rows = tuple[Tensor, Tensor]


def r_squared(train: Rows, samples: Rows, held_out: Rows, seed: int = 0) -> tuple[float, float]:
    """R² of ``samples`` and of ``held_out`` rows, by a regression fitted to ``train``.

    Each is a pair: rows (count, *shape) and their numeric condition (count,). Cells may be missing (NaN) unless the
    rows are wide.
    """
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingRegressor

    chosen = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(seed))[:ROWS]
    seed %= SEEDS
    fitted, *others = (x.flatten(1).double().cpu().numpy() for x in (train[0][chosen], samples[0], held_out[0]))
    if fitted.shape[1] > COMPONENTS:
        parts = PCA(min(COMPONENTS, len(fitted)), random_state=seed).fit(fitted)
        fitted, *others = (parts.transform(x) for x in (fitted, *others))
    model = HistGradientBoostingRegressor(random_state=seed).fit(fitted, _plain(train[1][chosen]))
    pairs = zip(others, (samples[1], held_out[1]), strict=True)
    made, real = (_r_squared(_plain(truth), model.predict(x)) for x, truth in pairs)
    return made, real


def _plain(x: Tensor) -> np.ndarray:
    return np.asarray(x.double().cpu().numpy())


def _r_squared(truth: np.ndarray, read: np.ndarray) -> float:
    spread = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((truth - read) ** 2).sum() / spread) if spread else float("nan")
