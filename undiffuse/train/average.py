"""Averages of the weights along training: the average of late weights samples better than the last ones.

The power function average of Karras et al. 2024 (EDM2, section 3.1), which needs no warm-up and forgets in
proportion to how long training has run:

    average_t = beta_t average_(t-1) + (1 - beta_t) weights_t,        beta_t = (1 - 1/t)^(gamma + 1),   t = 1, 2, ...

The product of the betas telescopes, so that the weights of step s count for (s^(gamma+1) - (s-1)^(gamma+1))/t^(gamma+1)
whatever happens in between. ``gamma`` is chosen by the *width*, the standard deviation of that profile as a share of
the training so far: .1 is an average over about the last fifth.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from undiffuse.core.errors import UserError

WIDEST = 12**-0.5  # gamma = 0: all steps alike


@cache
def power(width: float) -> float:
    """The gamma of a width: the root of (gamma + 1)^(1/2)/((gamma + 2)(gamma + 3)^(1/2)) = width (EDM2, eq. 126)."""
    if not 0 < width < WIDEST:
        raise UserError(f"the width of an average is a share of the training, above 0 and below .28, not {width:g}")
    low, high = 0.0, 2 / width  # the width falls with gamma, and is below 1/(gamma + 2)
    for _ in range(200):
        middle = (low + high) / 2
        wide = (middle + 1) ** 0.5 / ((middle + 2) * (middle + 3) ** 0.5) > width
        low, high = (middle, high) if wide else (low, middle)
    return low


class Average:
    """One average of ``weights``, kept on their device.

    Attributes:
        tensors: The average, in the order of the weights; their first values until the first ``update``.
    """

    def __init__(self, width: float, weights: Sequence[Tensor]) -> None:
        self.width, self.gamma = width, power(width)
        self.tensors = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def update(self, weights: Sequence[Tensor], step: int) -> None:
        """Take in the weights after ``step`` (1, 2, ...); the first replace what was there."""
        torch._foreach_lerp_(self.tensors, [weight.detach() for weight in weights], self.share(step))

    def share(self, step: int) -> float:
        """1 - beta: the share of the newest weights."""
        return 1 - (1 - 1 / step) ** (self.gamma + 1)
