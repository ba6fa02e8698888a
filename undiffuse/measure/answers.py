"""Several answers to one question, such as enlarged pictures of a small one: are they near, and as different as they
should be?

If the m answers are draws of the posterior, so is the truth, and so, with V the mean variance among answers (over
m - 1), the squared error of their mean is (1 + 1/m) V on average. The ratio of both says whether they are calibrated.
"""

import math

import torch
from torch import Tensor


def psnr(x: Tensor, truth: Tensor, span: float) -> float:
    """The peak signal-to-noise ratio in decibels, of values that span ``span``; infinite where they are equal."""
    error = float((x.double() - truth.double()).square().mean())
    return 10 * math.log10(span**2 / error) if error else math.inf


def calibration(answers: Tensor, truth: Tensor) -> float:
    """The spread of ``answers (questions, m, *shape)`` as a share of what the error of their mean calls for.

    1 for draws of the posterior, below 1 for answers that are too sure, 0 for copies. m at least 2.
    """
    m, answers = answers.shape[1], answers.double()
    error = (answers.mean(1) - truth.double()).square().mean()
    return float(((1 + 1 / m) * answers.var(1).mean() / error).sqrt())


def together(one: Tensor, other: Tensor) -> Tensor:
    """Features of two things, side by side: of x and y for the joint Frechet distance (JFID; DeVries et al. 2019)."""
    return torch.cat([one.flatten(1), other.flatten(1)], 1)
