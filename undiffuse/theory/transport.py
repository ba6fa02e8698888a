"""How straight the paths of a flow between two data sets are (Liu et al. 2022, eq. 4).

    S = E integral |x_1 - x_0 - dx/dt|^2 dt

along the flow's own paths. One step of Euler's is the whole flow only if it is 0. Each round of reflow lowers it.
"""

import torch
from torch import Tensor

from undiffuse.denoiser.bridge import BridgeDenoiser


@torch.no_grad()
def straightness(denoiser: BridgeDenoiser, x_1: Tensor, steps: int = 100) -> Tensor:
    """S of the paths that start at x_1 (batch, *shape), each by ``steps`` steps of the midpoint rule: (batch,)."""
    x, h, velocities = x_1, 1 / steps, []
    for k in range(steps):
        t = 1 - k * h
        middle = x - 0.5 * h * denoiser.velocity(x, t)
        velocities.append(denoiser.velocity(middle, t - 0.5 * h))
        x = x - h * velocities[-1]
    passed = torch.stack(velocities)
    return (x_1 - x - passed).square().mean(0).flatten(1).sum(1)
