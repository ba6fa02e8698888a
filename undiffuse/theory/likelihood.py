"""How likely is this data? A bound on -log p, for every process; log p by the flow, for the affine process.

The bound is -log p(x_0) <= prior + steps + reconstruction (Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5), with
times T = t_n > ... > t_1 > t_0 = 0:

    prior              KL(q(x_T | x_0) || p(x_T))
    steps              sum over i > 1 of E KL(q(x_s | x_t, x_0) || p(x_s | x_t)),    t = t_i, s = t_(i-1)
    reconstruction     E -log p(x_0 | x_t),                                          t = t_1

It is written once, by the methods that every process has: marginal, prior, posterior and decoder. All values are in
nats, one for each sample.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.distribution import total
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.denoiser.prediction import to_eps
from undiffuse.process import Affine, Process, Schedule


class Bound(NamedTuple):
    """-log p(x_0) <= ``total``, in nats, (batch,) each: an unbiased estimate from one x_t for each step."""

    prior: Tensor
    steps: Tensor
    reconstruction: Tensor
    error: Tensor  # standard error of ``steps`` if only some were taken; 0 if all were, nan if one was

    @property
    def total(self) -> Tensor:
        """prior + steps + reconstruction."""
        return self.prior + self.steps + self.reconstruction


@torch.no_grad()
def bound(
    process: Process,
    denoise: Denoise,
    x_0: Tensor,
    times: Sequence[float],
    noise: Noise,
    terms: int | None = None,
) -> Bound:
    """The variational bound on a grid of falling times that ends at 0, for any process; x_0 (batch, *shape).

    With ``terms``, only so many random steps are computed, drawn without replacement, so that long grids cost little.
    Raises `UserError` for a grid that does not fall to 0.
    """
    if len(times) < 2 or any(s >= t for t, s in pairwise(times)) or times[-1] != 0:
        raise UserError(f"a bound needs strictly falling times that end at 0, not {list(times)[:5]}")
    *steps, (last, _) = pairwise(times)
    taken = steps if terms is None else _some(steps, terms, x_0, noise)
    costs = [step_cost(process, denoise, x_0, t, s, noise) for t, s in taken]
    each = torch.stack(costs) if costs else x_0.new_zeros(1, len(x_0), dtype=torch.get_default_dtype())
    left_out = max(len(steps), 1) / len(each)
    return Bound(
        process.marginal(x_0, times[0]).kl(process.prior(x_0, times[0])),
        each.sum(0) * left_out,
        reconstruction(process, denoise, x_0, last, noise),
        _error_of_sum(each, max(len(steps), 1)),
    )


def step_cost(process: Process, denoise: Denoise, x_0: Tensor, t: float, s: float, noise: Noise) -> Tensor:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) for a draw of x_t, (batch,)."""
    x_t = process.corrupt(x_0, t, noise)
    return process.posterior(x_t, x_0, t, s).kl(process.posterior(x_t, denoise(x_t, t), t, s))


def reconstruction(process: Process, denoise: Denoise, x_0: Tensor, t: float, noise: Noise) -> Tensor:
    """-log p(x_0 | x_t) for a draw of x_t, (batch,)."""
    x_t = process.corrupt(x_0, t, noise)
    return -process.decoder(x_t, denoise(x_t, t), t).log_prob(x_0)


@torch.no_grad()
def affine_bound(
    process: Affine,
    denoise: Callable[[Tensor, Number], Tensor],
    x_0: Tensor,
    noise: Noise,
    draws: int = 16,
    log_snr: tuple[float, float] = (-12.0, 12.0),
    steps: int | None = None,
) -> Bound:
    """The bound for the affine process, with random steps for each sample; without ``steps``, infinitely many.

    A step t -> s costs 1/2 (SNR_s/SNR_t - 1) E||z - z_hat||^2. Infinitely many cost 1/2 E integral ||z - z_hat||^2
    d log-SNR, which depends only on the ends of the schedule (Kingma et al. 2021, eqs. 13 and 17): here ``log_snr``,
    or the schedule's own if they are nearer. ``steps`` are even in time, as DDPM's (Ho et al. 2020, eq. 8).

    The steps, or the range of the integral, are divided into ``draws`` equal parts, and each sample draws once in each.
    The integral is over log-SNR, because at uniform t, weighted by 1/2 (-d log_snr/dt), its estimate has far more
    variance. The denoiser is evaluated at times (batch,).
    """
    schedule = process.schedule
    T, last = _times(schedule, log_snr)
    costs = []
    for part in range(draws):
        u = (part + noise.uniform(torch.empty(len(x_0), dtype=torch.float64))) / draws
        t, weight = _even_in_time(schedule, T, last, u, steps) if steps else _even_in_log_snr(schedule, T, last, u)
        z = process.z.sample(x_0, noise)
        x_t = process.mix(x_0, z, t)
        costs.append(0.5 * weight * total((z - to_eps(schedule, x_t, denoise(x_t, t), t)) ** 2))
    each = torch.stack(costs)
    return Bound(
        process.marginal(x_0, T).kl(process.prior(x_0, T)),
        each.mean(0),
        reconstruction(process, denoise, x_0, last, noise),
        each.std(0) / math.sqrt(draws),
    )


@torch.no_grad()
def log_likelihood(
    process: Affine,
    denoise: Denoise,
    x_0: Tensor,
    noise: Noise,
    log_snr: tuple[float, float] = (-12.0, 12.0),
    probes: int | None = None,
    tolerance: float = 1e-5,
) -> Tensor:
    """log p(x_0) under the probability flow, in nats, (batch,), by an adaptive solver (Song et al. 2021, sec. 4.3).

    With y = x_t/alpha and l = log sigma/alpha the flow of every schedule is dy/dl = y - x_0_hat, and

        log p(y at the data) = log p(y at the noise) + integral of div(y - x_0_hat) dl.

    The flow starts at the log-SNR ``log_snr[1]``: the density is that of data with this much noise added. It ends at
    ``log_snr[0]``, where x_t is assumed to follow the process's prior.

    Args:
        process: the affine process, of normal noise.
        denoise: E[x_0 | x_t], differentiable; each sample must not depend on the others.
        x_0: data, (batch, *shape).
        noise: draws the probes.
        log_snr: the range of the flow, or the schedule's own range if it is narrower.
        probes: how many of Hutchinson's random probes estimate the divergence: cheap, noisy, unbiased for log p. None
            computes it exactly, by one derivative for each number of x_0: for small data.
        tolerance: the solver's relative and absolute tolerance.
    """
    from torchdiffeq import odeint

    process.require_gaussian("a prior in closed form")
    schedule = process.schedule
    T, last = _times(schedule, log_snr)
    vectors, weight = unit_vectors(x_0) if probes is None else signs(x_0, noise, probes)

    def rate(level: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        t = float(schedule.time(-2 * level.detach().cpu().double()))
        alpha = schedule.at(t).alpha
        with torch.enable_grad():
            y = state[0].detach().requires_grad_()
            x_0_hat = denoise(y * alpha, t)
            divergence = trace(x_0_hat, y, vectors) * weight
        return y.detach() - x_0_hat.detach(), x_0[0].numel() - divergence

    levels = x_0.new_tensor([-0.5 * schedule.at(t).log_snr for t in (last, T)])
    path, gained = odeint(rate, (x_0, x_0.new_zeros(len(x_0))), levels, rtol=tolerance, atol=tolerance, method="dopri5")
    alpha = schedule.at(T).alpha
    return process.prior(x_0, T).log_prob(alpha * path[-1]) + x_0[0].numel() * math.log(alpha) + gained[-1]


def bits_per_dim(nats: Tensor, size: int, bin_width: float = 1.0) -> Tensor:
    """-log p in bits per number, from ``nats`` = -log p(x_0) of samples of ``size`` numbers.

    ``bin_width`` is the distance between levels of the data as the model sees it, if the data was rounded to them and
    dithered: 2/255 for a picture of 256 levels scaled to [-1, 1]. For tokens it is 1.
    """
    return (nats / size - math.log(bin_width)) / math.log(2)


def _times(schedule: Schedule, log_snr: tuple[float, float]) -> tuple[float, float]:
    """The times of the noise end and of the data end, within the schedule's range."""
    T, last = schedule.time(torch.tensor(log_snr, dtype=torch.float64)).tolist()
    return T, last


def _even_in_log_snr(schedule: Schedule, T: float, last: float, u: Tensor) -> tuple[Tensor, Tensor]:
    """Times at a share ``u`` (batch,) of the way to the data in log-SNR, and 1/density in log-SNR."""
    low, high = schedule.at(T).log_snr, schedule.at(last).log_snr
    return schedule.time(low + u * (high - low)), torch.full_like(u, high - low)


def _even_in_time(schedule: Schedule, T: float, last: float, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The start t of the step that contains the share ``u`` (batch,) of the way, and ``steps`` (SNR_s/SNR_t - 1)."""
    begun = (u * steps).floor()
    t, s = (T + (last - T) * share / steps for share in (begun, begun + 1))
    return t, steps * torch.expm1(schedule.at(s).log_snr - schedule.at(t).log_snr)


def _some(steps: list[tuple[float, float]], terms: int, x_0: Tensor, noise: Noise) -> list[tuple[float, float]]:
    """A random subset, the same for the whole batch."""
    if not 1 <= terms <= len(steps):
        raise UserError(f"terms must lie in 1 .. {len(steps)}, the steps that the grid has, not {terms}")
    order = noise.uniform(torch.empty(len(steps), dtype=torch.float64)).argsort()[:terms]
    return [steps[i] for i in order.tolist()]


def _error_of_sum(taken: Tensor, count: int) -> Tensor:
    """Standard error of the sum of ``count`` costs estimated from some of them, (terms, batch) -> (batch,)."""
    terms = len(taken)
    if terms == count:
        return torch.zeros_like(taken[0])
    return taken.std(0) * count * math.sqrt((1 - terms / count) / terms)


def unit_vectors(x: Tensor) -> tuple[Tensor, float]:
    """One for each number of x, (size, 1, *shape): their v^T J v sum to the trace."""
    return torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).view(-1, 1, *x.shape[1:]), 1.0


def signs(x: Tensor, noise: Noise, count: int) -> tuple[Tensor, float]:
    """Random signs, (count, *x.shape): the mean of v^T J v is the trace, with less variance than for normal v."""
    return torch.stack([(noise.uniform(x) - 0.5).sign() for _ in range(count)]), 1 / count


def trace(y: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """Sum over vectors of v^T (dy/dx) v, sample by sample, (batch,)."""
    found = torch.zeros_like(x.flatten(1)[:, 0])
    for v in vectors.expand(-1, *x.shape):
        (pulled,) = torch.autograd.grad(y, x, v, retain_graph=True)
        found += total(pulled * v)
    return found.detach()
