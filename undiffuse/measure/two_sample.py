"""The classifier two-sample test: can a classifier tell samples from data?

Label samples 0 and data 1, train a classifier on some of them and test it on the rest (Lopez-Paz and Oquab 2017). If
the distributions are equal, every classifier is right half the time; anything above that is a difference it has found.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.rows import rows

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


ENOUGH = 100  # rows of both kinds
SEEDS = 2**32  # of scikit-learn's


class TwoSample(NamedTuple):
    """The classifier's results on rows that it was not trained on, each with its standard error; 0.5 is chance."""

    accuracy: float
    accuracy_error: float
    auc: float  # area under the ROC curve: how often a row of data is scored above a sample
    auc_error: float


def two_sample_test(
    samples: Tensor, data: Tensor, *, classifier: "ClassifierMixin | None" = None, folds: int = 5, seed: int = 0
) -> TwoSample:
    """Cross-validated over ``folds``, of ``samples (n, *shape)`` against ``data (m, *shape)``.

    With unequal counts a random part of the larger set is used, so that chance is 1/2. ``classifier`` is any of
    scikit-learn's with ``predict_proba``; without one, boosted trees. Pictures stored in steps (0..255) differ
    from continuous samples by the steps alone: bring samples onto the data's steps, or compare features.
    """
    if folds < 2:
        raise UserError(f"folds must be at least 2, not {folds}")
    x, y = rows(samples, data, least=folds)

    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    count = min(len(x), len(y))
    generator = torch.Generator().manual_seed(seed)
    seed %= SEEDS
    both = torch.cat([part[torch.randperm(len(part), generator=generator)[:count]].cpu() for part in (x, y)])
    labels = torch.arange(2).repeat_interleave(count).numpy()
    stopped_early = 2 * count >= ENOUGH  # of fewer, too few are left to judge when
    classifier = classifier or HistGradientBoostingClassifier(early_stopping=stopped_early, random_state=seed)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(classifier, both.numpy(), labels, cv=split, method="predict_proba")[:, 1]

    accuracy = float(((scores > 0.5) == labels).mean())
    auc = float(roc_auc_score(labels, scores))
    error = math.sqrt(accuracy * (1 - accuracy) / (2 * count))
    return TwoSample(accuracy, error, auc, auc_error(auc, count))


def auc_error(auc: float, count: int) -> float:
    """The standard error of an AUC over ``count`` rows of each kind (Hanley and McNeil 1982, eq. 1)."""
    two_above = auc / (2 - auc)  # that two rows of data are both above one sample
    two_below = 2 * auc**2 / (1 + auc)  # that one row of data is above two samples
    pairs = (count - 1) * (two_above + two_below - 2 * auc**2)
    return math.sqrt(max(0.0, auc * (1 - auc) + pairs)) / count
