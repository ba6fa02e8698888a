"""The inception score: are single samples clear, and all of them various? (Salimans et al. 2016, section 4)

    exp E KL(p(label | x) || p(label)),      p(label) = E p(label | x)

From 1, where every sample looks like every label or all like one, to the number of labels. It never looks at the data,
so it is no distance; with a judge of the data at hand in Inception's place it compares only with its floor.
"""

import torch
from torch import Tensor

from undiffuse.core.errors import UserError


def inception_score(probabilities: Tensor) -> float:
    """Of p(label | x), (n, labels), rows that sum to 1; in float64 on the CPU. Raises UserError for anything else."""
    p = probabilities.cpu().double()
    if p.ndim != 2 or len(p) < 1 or not torch.allclose(p.sum(1), torch.ones(len(p), dtype=p.dtype), atol=1e-3):
        raise UserError(f"an inception score is of probabilities (n, labels), not {tuple(p.shape)}")
    marginal = p.mean(0)
    information = torch.special.xlogy(p, p) - torch.special.xlogy(p, marginal)
    return float(information.sum(1).mean().exp())
