"""Iterative Markovian fitting: rectified flow's rounds (sigma = 0), and the diffusion Schroedinger bridge by matching.

    1. Pairs (x_0, x_1), at first independent; between them the process's own bridges, which need both ends.
    2. The Markov process with the same distribution at every time: its drifts are E[x_0 | x_t] and E[x_1 | x_t], which
       the network learns.
    3. Where this process starts and ends are the pairs of the next round.

Each round keeps both distributions, and makes the pairs cheaper. With sigma > 0 the fixed point is the Schroedinger
bridge of a Brownian motion of this sigma (Shi et al. 2023, DSBM; Peluchetti 2023). With sigma = 0 the rounds are
reflow: lines that no longer cross, so that one step of Euler's crosses them (Liu et al. 2022).

With noise, each way is learned from pairs whose other end is real: the way to x_1 from crossings that started at a real
x_1, the way to x_0 from those that started at a real x_0. What a crossing misses does not pile up in the ends that way
(DSBM's forward and backward projections; here both in every round, by one network).

Lines that hardly cross are not straight yet. A last round in ``one_step`` is distillation: the network is asked only
where a pair starts, and says where the pair ends, which one step of Euler's then reaches (Liu et al. 2022).
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.bridge import BridgeDenoiser, Ends
from undiffuse.loss.bridging import BridgeLoss, Matching, targets
from undiffuse.loss.denoising import mean
from undiffuse.loss.rounds import Rounds
from undiffuse.sampling.grid import slowing, trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.bridge import BridgeStep
from undiffuse.step.heun import Heun


@dataclass(frozen=True)
class Markovian(BridgeLoss):
    """Rounds of Markovian fitting.

    Attributes:
        rounds: How many, the first of independent pairs included.
        crossing: Steps of a crossing that makes a pair.
        reuse: How many times t a pair is used at.
        one_step: Whether the last round learns a single step, each way, in place of a flow.
    """

    rounds: int = 5
    crossing: int = 20
    reuse: int = 8
    one_step: bool = False

    def __post_init__(self) -> None:
        if min(self.rounds, self.crossing, self.reuse) < 1:
            raise UserError(f"rounds, crossing and reuse are at least 1, not {self}")
        if self.one_step and self.rounds < 2:
            raise UserError("one step is learned from the crossings of a round before it: rounds is at least 2")

    @property
    def most(self) -> int | None:
        """One evaluation, of one step."""
        return 1 if self.one_step else None

    def begin(self, denoiser: BridgeDenoiser, steps: int) -> "MarkovianFitting":
        """The loss of one training of so many steps. Raises UserError for one step of a bridge with noise."""
        if self.one_step and denoiser.process.sigma > 0:
            raise UserError("a bridge with noise is not crossed in one step; leave out the noise: --sigma 0")
        return MarkovianFitting(denoiser, steps, self)


class MarkovianFitting(Rounds):
    """`Markovian`, in a training."""

    def __init__(self, denoiser: BridgeDenoiser, steps: int, how: Markovian) -> None:
        super().__init__(denoiser, steps, how.rounds)
        self.how = how

    def losses(
        self, denoiser: BridgeDenoiser, now: int, ends: Ends, noise: Noise, conditions: Conditions | None
    ) -> Tensor:
        """Of pairs as they come in round 0, and of crossings from either end later."""
        if now == 0:
            return Matching()(denoiser, *ends, noise, conditions)
        step = self.how.one_step and now == self.rounds - 1
        reuse = 1 if step else self.how.reuse
        half = max(1, len(ends.x_0) // (2 * reuse))
        x_0, x_1 = (end[:half] for end in ends)
        some = None if conditions is None else conditions[:half]
        far_0, far_1 = self.crossed(x_1, False, noise, some), self.crossed(x_0, True, noise, some)
        each = torch.arange(half, device=x_0.device).repeat(2).repeat_interleave(reuse)
        made = Ends(torch.cat([far_0, x_0]), torch.cat([x_1, far_1]))
        made = Ends(*(end.repeat_interleave(reuse, 0) for end in made))
        from_1 = torch.arange(len(each)) < half * reuse
        given = None if some is None else some[each]
        if step:
            return one_step(denoiser, made, from_1, given)
        return one_way(denoiser, made, from_1.to(x_0.device), noise, given)

    @torch.no_grad()
    def crossed(self, x: Tensor, back: bool, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Where the former bridge takes x from one end, at the other: (batch, *shape)."""
        crossing, process = self.crossing(back), self.former.process
        if process.sigma == 0:
            times, flow = trailing(process.schedule, self.how.crossing), partial(crossing, conditions=conditions)
            return last(trajectory(Heun(process), flow, x, times, noise))
        times, belief = slowing(process.schedule, self.how.crossing), partial(crossing.belief, conditions=conditions)
        return last(trajectory(BridgeStep(process), belief, x, times, noise))


def one_way(
    denoiser: BridgeDenoiser, ends: Ends, to_1: Tensor, noise: Noise, conditions: Conditions | None = None
) -> Tensor:
    """The squared error of the way to x_1 where ``to_1`` (batch,), and to x_0 elsewhere: (batch,)."""
    process = denoiser.process
    t = noise.uniform(torch.empty(len(to_1), dtype=torch.float64)).clamp(2.0**-53)
    x_t, _ = process.between(*ends, t, noise)
    said, wanted = denoiser.ways(x_t, t, conditions), targets(process, x_t, ends, t)
    errors = (mean((one - other) ** 2) for one, other in zip(said, wanted, strict=True))
    of_0, of_1 = errors
    return torch.where(to_1, of_1, of_0)


def one_step(denoiser: BridgeDenoiser, ends: Ends, from_1: Tensor, conditions: Conditions | None = None) -> Tensor:
    """Half the squared error of the velocity at x_1 where ``from_1`` (batch,), on the CPU, and at x_0 elsewhere:
    (batch,)."""
    t = from_1.double()
    velocity = denoiser.velocity(denoiser.process.mix(*ends, t), t, conditions)
    return 0.5 * mean((velocity - (ends.x_1 - ends.x_0)) ** 2)
