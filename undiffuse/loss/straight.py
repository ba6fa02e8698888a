"""Any flow map seen on the straight schedule, where its jumps are straight lines at a mean velocity.

    z_t = (1 - t) x_0 + t z,        z_s = z_t - (t - s) u(z_t, t, s),        u = (z_t - X(z_t, t, s))/t

Two schedules differ by a scale of x_t and by the clock (`undiffuse.process.schedule`), and the X at which a jump is
aimed is the same in both. So what is derived on the straight schedule trains a network of any schedule and prediction.
"""

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.linear import combine, expand, scale
from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.loss.time import TimeDistribution
from undiffuse.process.curves import Flow
from undiffuse.process.schedule import Schedule

STRAIGHT = Flow()
FIRST = 5e-5  # before it, and that long before t = 1, no level differs from the next (`denoiser.gaussian`)


def mean_velocity(student: FlowMap, z_t: Tensor, t: Tensor, s: Tensor, conditions: Conditions | None = None) -> Tensor:
    """u(z_t, t, s) (batch, *shape) of z_t on the straight schedule, at its times t > 0 and s <= t, (batch,)."""
    own = student.process.schedule
    now, then = (t, s) if own == STRAIGHT else (own.time(STRAIGHT.log_snr(time)) for time in (t, s))
    alpha, sigma, _ = own.at(now)
    return toward(student(scale(alpha + sigma, z_t), now, conditions, then), z_t, t)


def toward(x_0: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
    """(z_t - x_0)/t, the velocity of the straight line from x_0 to z_t at times (batch,)."""
    return combine(1 / t, z_t, -1 / t, x_0)


def moved(z_t: Tensor, u: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """z_s = z_t - (t - s) u, at times (batch,): (batch, *shape)."""
    return z_t - expand(t - s, u) * u


def last(schedule: Schedule) -> float:
    """The straight time at which another schedule ends, below 1: sigma/(alpha + sigma).

    It is a little before the end, beyond which the schedule's clock stands still and has no derivative.
    """
    alpha, sigma, _ = schedule.at(1 - 1e-6)
    return min(sigma / (alpha + sigma), 1 - FIRST)


def times(time: TimeDistribution, count: int, noise: Noise, schedule: Schedule) -> Tensor:
    """(count,) straight times by a law, inside what another schedule reaches; float64 on the CPU."""
    return time.sample(count, noise, STRAIGHT).clamp(FIRST, last(schedule))


def spans(time: TimeDistribution, ends: float, count: int, noise: Noise, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """(t, s), from where to where jumps lead: the later and the earlier of two such times, (count,) each.

    A sampler begins at t = 1 and ends at s = 0, where few laws ever draw, and where a network that is given log-SNR
    would otherwise have to extrapolate. So each of the two is at its end with probability ``ends``.
    """
    one, other = (times(time, count, noise, schedule) for _ in range(2))
    at_noise, at_data = (noise.uniform(torch.empty_like(one)) < ends for _ in range(2))
    t, s = torch.maximum(one, other), torch.minimum(one, other)
    return t.masked_fill(at_noise, last(schedule)), s.masked_fill(at_data, 0.0)
