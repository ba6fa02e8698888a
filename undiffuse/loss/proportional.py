"""The diffusion Schroedinger bridge by iterative proportional fitting (De Bortoli et al. 2021).

Time is cut into N steps of length h. A process that starts at x_0 and drifts by f,

    x_(k+1) = F(x_k) + sigma sqrt(h) w,    F(x) = x + h f(k h, x),

is run backwards by one that drifts by b, whose mean is learned from single steps of the first (their eqs. 12 and 13):

    x_(k+1) + h b((k + 1) h, x_(k+1)) = E[x_(k+1) + F(x_k) - F(x_(k+1)) | x_(k+1)]                     mean matching

Started at x_1, this one is in turn run backwards, by a new f; and so on. Round 0 begins with a Brownian motion, f = 0.
Each round makes one end right and disturbs the other less: for Gaussians the disturbance falls geometrically. The score
form asks the correction of the step's later time, where the score of x_(k+1) given x_k is taken.

The network says both drifts, as the ways to both ends: b(t, x) = (E_0 - x)/t, f(t, x) = (E_1 - x)/(1 - t).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.bridge import BridgeDenoiser, Ends
from undiffuse.loss.bridging import BridgeLoss
from undiffuse.loss.denoising import mean
from undiffuse.loss.rounds import Rounds
from undiffuse.process.pinned import way


@dataclass(frozen=True)
class Proportional(BridgeLoss):
    """Rounds of proportional fitting; an odd number of them, so that the last one learns the way to x_0.

    Attributes:
        rounds: How many; each learns one of the two ways.
        crossing: N, the steps of a crossing.
        score: Whether the correction is asked at the later time of a step (the score form).
    """

    rounds: int = 9
    crossing: int = 20
    score: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.rounds % 2 == 0:
            raise UserError(
                f"proportional fitting takes an odd number of rounds, not {self.rounds}: the last is to x_0"
            )
        if self.crossing < 2:
            raise UserError(f"a crossing takes at least 2 steps, not {self.crossing}")

    def begin(self, denoiser: BridgeDenoiser, steps: int) -> "ProportionalFitting":
        """The loss of one training of so many steps. Raises UserError for a bridge without noise."""
        if denoiser.process.sigma == 0:
            raise UserError("proportional fitting is of a bridge with noise: --sigma 1")
        return ProportionalFitting(denoiser, steps, self)


class ProportionalFitting(Rounds):
    """`Proportional`, in a training."""

    def __init__(self, denoiser: BridgeDenoiser, steps: int, how: Proportional) -> None:
        super().__init__(denoiser, steps, how.rounds)
        self.how, self.sigma = how, denoiser.process.sigma

    def losses(
        self, denoiser: BridgeDenoiser, now: int, ends: Ends, noise: Noise, conditions: Conditions | None
    ) -> Tensor:
        """Of the steps of crossings that start at x_0 in even rounds, and at x_1 in odd ones."""
        forwards = now % 2 == 0
        few = -(-len(ends.x_0) // self.how.crossing)
        some = None if conditions is None else conditions[:few]
        start = ends.x_0 if forwards else ends.x_1
        x, t, wanted = self.crossed(start[:few], forwards, now == 0, noise, some)
        every = None if some is None else some.repeat(self.how.crossing)
        said = denoiser.ways(x, t if forwards else 1 - t, every)[0 if forwards else 1]
        return mean((said - wanted) ** 2)

    def drift(self, forwards: bool, x: Tensor, t: float, conditions: Conditions | None) -> Tensor:
        """The former drift away from the end where a crossing starts, at a time t since it started."""
        y = self.former.ways(x, t if forwards else 1 - t, conditions)[1 if forwards else 0]
        return y * (way(t, self.sigma) / (1 - t))

    @torch.no_grad()
    def crossed(
        self, x: Tensor, forwards: bool, free: bool, noise: Noise, conditions: Conditions | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points (steps batch, *shape) of crossings, times since they started, and what the way back is to be there.

        The way back over a time t is h b = x_k's mean - x_(k+1), in units of the way: y = b t/way(1 - t).
        """
        count, sigma = self.how.crossing, self.sigma
        h, points, times, wanted = 1 / count, [], [], []
        for k in range(count):
            t, later = k * h, (k + 1) * h
            drift = torch.zeros_like(x) if free else self.drift(forwards, x, t, conditions)
            there = combine(1.0, x, h, drift)
            landed = there.add(noise.normal(x), alpha=sigma * math.sqrt(h))
            asked = min(later if self.how.score else t, 1 - h)
            correction = torch.zeros_like(x) if free else self.drift(forwards, landed, asked, conditions)
            back = (there - landed) / h - correction
            points.append(landed)
            times.append(torch.full((len(x),), later, dtype=torch.float64))
            wanted.append(back * (later / way(1 - later, sigma)))
            x = landed
        return torch.cat(points), torch.cat(times), torch.cat(wanted)
