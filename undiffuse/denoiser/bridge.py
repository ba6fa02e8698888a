"""The denoiser of a bridge: the ways from x_t to both ends, x_0 and x_1, and what follows from them.

The network is asked for each way in units of its own root mean square, so that its target has unit variance at every
time:

    y_1 = (x_1 - x_t)/way(t),    y_0 = (x_0 - x_t)/way(1 - t)

Without noise (sigma = 0) both are the velocity, y_1 = -y_0 = (x_1 - x_0)/sqrt 2, and the network has one output. With
noise E[x_0 | x_t] and E[x_1 | x_t] are the drifts of two stochastic processes, one to each end, and the probability
flow moves at half their difference (Song et al. 2021; Shi et al. 2023, section 4):

    dX = (E[x_1 | X] - X)/(1 - t) dt + sigma dB      dX = (E[x_0 | X] - X)/t d(-t) + sigma dB
    dx/dt = 1/2 ((E[x_1 | x] - x)/(1 - t) - (E[x_0 | x] - x)/t)

The network may be told x_1 as well, a setting of I2SB (Liu et al. 2023): then the bridge does not forget which start it
came from, and there is no way back.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.encoder import level_alone
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Specification, Vector
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, expand, scale
from undiffuse.denoiser.gaussian import Encode, noise_level
from undiffuse.process.affine import Belief
from undiffuse.process.pinned import Pinned, moved_to, way

START = "the start"  # the name of x_1 as a condition
EDGE = 1e-3  # the flow of a bridge with noise is asked no nearer to its ends, where it is a limit 0/0


class Ends(NamedTuple):
    """What is believed of both ends given x_t, (batch, *shape) each."""

    x_0: Tensor
    x_1: Tensor


class BridgeDenoiser(nn.Module):
    """denoiser(x_t, t) -> the x_0 that the probability flow heads for.

    Args:
        net: net(x, routes) -> y; with sigma > 0 of twice the channels, y_0 then y_1.
        process: The bridge.
        encoder: What makes routes of the time and of conditions.
        told_start: Whether x_1 is one of them; see `told`.
    """

    learned_variance = False
    jumps: tuple[str, ...] = ()

    def __init__(
        self, net: nn.Module, process: Pinned, encoder: Encode = level_alone, told_start: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.told_start = encoder, told_start
        self.net, self.process = net, process

    def told(self, x_1: Tensor, conditions: Conditions | None = None) -> Conditions | None:
        """The conditions of rows that start at x_1 (batch, *shape): with x_1 itself, if the network is told."""
        if not self.told_start:
            return conditions
        start = Entry(x_1, torch.ones(len(x_1), dtype=torch.bool, device=x_1.device))
        return Conditions({START: start, **(conditions.entries if conditions else {})})

    def ways(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Ends:
        """What the network says: (y_0, y_1)."""
        level = noise_level(self.process.schedule.at(t).log_snr, x_t.device, x_t.dtype)
        y = self.net(scale(self.process.input_scale(t), x_t), self.encoder(level, conditions))
        return Ends(-y, y) if self.process.sigma == 0 else Ends(*y.chunk(2, dim=1))

    def ends(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Ends:
        """(E[x_0 | x_t], E[x_1 | x_t]) at time t, a number or (batch,)."""
        y_0, y_1 = self.ways(x_t, t, conditions)
        sigma = self.process.sigma
        return Ends(moved_to(x_t, way(1 - t, sigma), y_0), moved_to(x_t, way(t, sigma), y_1))

    def velocity(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """dx/dt of the probability flow, from x_0 towards x_1."""
        y_0, y_1 = self.ways(x_t, t, conditions)
        sigma = self.process.sigma
        if sigma == 0:
            return math.sqrt(2) * y_1
        t = min(max(t, EDGE), 1 - EDGE) if isinstance(t, float) else t.clamp(EDGE, 1 - EDGE)
        there, back = way(t, sigma) / (1 - t), way(1 - t, sigma) / t
        return 0.5 * (expand(there, x_t) * y_1 - expand(back, x_t) * y_0)

    def forward(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """x_t - t dx/dt: with sigma = 0, E[x_0 | x_t]. What samplers of the probability flow go by."""
        return x_t - expand(t, x_t) * self.velocity(x_t, t, conditions)

    def belief(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Belief:
        """E[x_0 | x_t], which steps with fresh noise go by."""
        return Belief(self.ends(x_t, t, conditions).x_0)


def of_start(shape: tuple[int, ...]) -> Specification:
    """x_1 as a condition, of data of ``shape``: a picture beside x_t, or a vector. Raises UserError for series."""
    if len(shape) == 2:
        raise UserError("a bridge of series is not told where it starts; leave --told-start out")
    return Picture((shape[0], shape[1], shape[2])) if len(shape) == 3 else Vector(shape[0])


class Backwards(nn.Module):
    """The same bridge from the other side: its x_0 is x_1, and its time 1 - t.

    The process is symmetric, so it is sampled by the same steps at the same times. Raises UserError for a denoiser that
    is told where it starts.
    """

    learned_variance = False
    jumps: tuple[str, ...] = ()

    def __init__(self, denoiser: BridgeDenoiser) -> None:
        super().__init__()
        if denoiser.told_start:
            raise UserError("this bridge is told where it starts, and so has no way back")
        self.denoiser, self.process = denoiser, denoiser.process

    def forward(self, x: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """x + t dx/d(1 - t): the x_1 that the probability flow heads for."""
        return x + expand(t, x) * self.denoiser.velocity(x, 1 - t, conditions)

    def belief(self, x: Tensor, t: Number, conditions: Conditions | None = None) -> Belief:
        """E[x_1 | x]."""
        return Belief(self.denoiser.ends(x, 1 - t, conditions).x_1)
