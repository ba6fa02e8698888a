"""Bridges that learn in rounds, each from what the bridge of the round before makes of the data.

At the start of a round the network is copied, and the copy crosses from one end to the other; what it passes through is
what the round learns from. Two methods differ in what they keep of it:

    Markovian       the two points where a crossing starts and ends (`markovian`)
    Proportional    each of its steps (`proportional`)

The copy and the count of steps are tensors of the training's state, so that it resumes bit for bit.
"""

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.modules import HostModule
from undiffuse.core.noise import Noise
from undiffuse.denoiser.bridge import Backwards, BridgeDenoiser, Ends


class Steps(HostModule):
    """How many steps were taken: on the CPU, where reading it waits for nothing."""

    taken: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def next(self) -> int:
        """The index of this step, 0, 1, ..."""
        self.taken += 1
        return int(self.taken) - 1


class Rounds(nn.Module, ABC):
    """loss(denoiser, x_0, x_1, noise, conditions) -> losses (batch,).

    Args:
        denoiser: What learns.
        steps: Of the whole training.
        rounds: How many, all of the same length.

    Raises UserError for a bridge that is told where it starts: rounds cross it both ways.

    Attributes:
        former: The denoiser as it was at the start of the round.
    """

    def __init__(self, denoiser: BridgeDenoiser, steps: int, rounds: int) -> None:
        super().__init__()
        if denoiser.told_start:
            raise UserError("rounds cross a bridge both ways; one that is told where it starts has only one")
        self.steps, self.rounds, self.count = steps, rounds, Steps()
        net, encoder = copy.deepcopy(denoiser.net), copy.deepcopy(denoiser.encoder)
        self.former = BridgeDenoiser(net, denoiser.process, encoder).requires_grad_(False)

    def forward(
        self, denoiser: BridgeDenoiser, x_0: Tensor, x_1: Tensor, noise: Noise, conditions: Conditions | None = None
    ) -> Tensor:
        """Losses (batch,) of rows of both ends, (batch, *shape) each."""
        step = self.count.next()
        now = self.round_of(step)
        if step == 0 or self.round_of(step - 1) < now:
            self.former.load_state_dict(denoiser.state_dict())
        return self.losses(denoiser, now, Ends(x_0, x_1), noise, conditions)

    def round_of(self, step: int) -> int:
        """Which round, 0, 1, ..., a step belongs to."""
        return min(step * self.rounds // self.steps, self.rounds - 1)

    @abstractmethod
    def losses(
        self, denoiser: BridgeDenoiser, now: int, ends: Ends, noise: Noise, conditions: Conditions | None
    ) -> Tensor:
        """The losses of one step of the round ``now``."""

    def crossing(self, back: bool) -> BridgeDenoiser | Backwards:
        """The former denoiser from x_1 to x_0, or ``back`` from x_0 to x_1."""
        return Backwards(self.former) if back else self.former
