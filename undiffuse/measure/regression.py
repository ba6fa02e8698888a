"""How well samples follow the numbers that they were asked for, told by a regression of real data on them.

A gradient-boosted regression is fitted on real rows and what is known of them; it reads the samples, and R² says how
much of what was asked is in them:

    R² = 1 - sum (asked - read)² / sum (asked - mean asked)²

1 is all of it, 0 no more than guessing the mean. Held-out rows, read likewise, say how much can be told at all. Wide
rows (pictures) are read by their principal components.
"""

import numpy as np
import torch
from torch import Tensor

from undiffuse.measure.two_sample import SEEDS

COMPONENTS = 32  # of rows with more numbers
ROWS = 20_000  # fitted on, at most

Rows = tuple[Tensor, Tensor]


def r_squared(train: Rows, samples: Rows, held_out: Rows, seed: int = 0) -> tuple[float, float]:
    """R² of what ``samples`` were asked for and, beside it, of held-out rows; fitted on rows of ``train``.

    Each is rows (count, *shape) and the number of each, (count,). Cells may be missing (NaN) in narrow rows.
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
