"""The error of a denoiser by noise level: |E[x_0 | x_t] - x_0|^2 per number, row by row.

Every loss of a diffusion is a weighted sum over levels of this one number, so it says at which noise levels a network
is good, whatever it was trained on. Levels are log-SNRs, which mean the same under every schedule.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.noise import SeededNoise
from undiffuse.process.affine import Affine

AT_ONCE = 1 << 18  # numbers

# denoise(x_t, t, conditions) -> E[x_0 | x_t, conditions]
Conditional = Callable[[Tensor, float, Conditions | None], Tensor]


@torch.no_grad()
def error_by_level(
    denoise: Conditional,
    process: Affine,
    x_0: Tensor,
    log_snrs: Sequence[float],
    conditions: Conditions | None = None,
    seed: int = 0,
) -> Tensor:
    """The mean squared error per number of each row of ``x_0`` (count, *shape), which is data as it diffuses, at each
    level: (levels, count) float64.

    Level k of row i has the same noise whichever the denoiser, so that two denoisers are compared on the same x_t. A
    level that the schedule does not reach is taken at its end.
    """
    rows = max(1, AT_ONCE // max(1, x_0[0].numel()))
    errors = []
    for level, log_snr in enumerate(log_snrs):
        t = float(process.schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
        found = []
        for first in range(0, len(x_0), rows):
            some = x_0[first : first + rows]
            given = None if conditions is None else conditions[slice(first, first + rows)]
            x_t = process.corrupt(some, t, SeededNoise(seed + level, first))
            found.append((denoise(x_t, t, given) - some).square().flatten(1).mean(1).double().cpu())
        errors.append(torch.cat(found))
    return torch.stack(errors)
