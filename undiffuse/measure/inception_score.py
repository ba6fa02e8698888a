"""The inception score: is each sample clear, and are all together diverse? (Salimans et al. 2016, section 4)

    exp E KL(p(label | x) || p(label)),      p(label) = E p(label | x)

It runs from 1, if no sample has a clear label or all have the same, to the number of labels. It does not use the data,
so it is no distance. With a judge in place of Inception it can be compared only with its floor.
"""

import torch
from torch import Tensor

from undiffuse.core.errors import UserError


def inception_score(probabilities: Tensor) -> float:
    """From p(label | x), (n, labels), whose rows sum to 1; in float64 on the CPU. Raises UserError for anything
    else."""
    p = probabilities.cpu().double()
    if p.ndim != 2 or len(p) < 1 or not torch.allclose(p.sum(1), torch.ones(len(p), dtype=p.dtype), atol=1e-3):
        raise UserError(f"an inception score is of probabilities (n, labels), not {tuple(p.shape)}")
    marginal = p.mean(0)
    information = torch.special.xlogy(p, p) - torch.special.xlogy(p, marginal)
    return float(information.sum(1).mean().exp())
