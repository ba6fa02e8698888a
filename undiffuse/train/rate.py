"""The learning rate over training: a linear warm-up, then constant or falling to zero."""

import math
from typing import Literal

Decay = Literal["constant", "linear", "cosine"]


def rate(step: int, steps: int, warmup: int = 0, decay: Decay = "constant") -> float:
    """The share of the learning rate at ``step`` (0 to ``steps`` - 1).

    Step k < ``warmup`` has (k + 1)/warmup. After the warm-up the share falls from 1 as 1 - u or (1 + cos pi u)/2, where
    u is the completed share of these steps. The last step is small but not zero, since a step of zero would be wasted.
    """
    if step < warmup:
        return (step + 1) / warmup
    over = (step - warmup) / max(1, steps - warmup)
    if decay == "linear":
        return 1 - over
    return 0.5 * (1 + math.cos(math.pi * over)) if decay == "cosine" else 1.0
