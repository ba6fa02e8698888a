"""Score matching is a bound on the likelihood: the continuous-time ELBO of a plug-in reverse SDE (Huang et al. 2021).

Data is lost by dY = f Y dt + g dB. Any function s in place of the score gives a process back, the plug-in reverse SDE

    dX = (g^2 s - f X) d(-t) + g dB.

Its likelihood is bounded by Girsanov's theorem, with the paths of Y as the inference (their theorem 3, a = g s):

    log p(x) >= E[log p(Y_T) - integral of (1/2 g^2 |s|^2 + div(g^2 s - f Y)) dt | Y = x at the start]

with equality where s is the score. Neither the density of data nor its score is in it: the divergence takes the score's
place, as in implicit score matching (Hyvarinen 2005), which differs from denoising score matching by a constant. So
whoever matches the score maximises this bound.

Two estimates make it cheap. Hutchinson's: div s is the mean of v^T (ds/dy) v over random signs v. And times: uniform
ones weigh it by g^2, while what it weighs varies as 1/sigma^2, without bound near the data; t with a density
proportional to g^2/sigma^2 removes this. As g^2/sigma^2 = -d log_snr/dt for every affine process, that is uniform
log-SNR.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undiffuse.core.distribution import total
from undiffuse.core.linear import Number, combine
from undiffuse.core.noise import Noise
from undiffuse.denoiser.prediction import to_score
from undiffuse.process import Affine
from undiffuse.theory.likelihood import signs, trace, unit_vectors


def path_bound(
    process: Affine,
    denoise: Callable[[Tensor, Number], Tensor],
    x: Tensor,
    noise: Noise,
    draws: int = 16,
    log_snr: tuple[float, float] = (-12.0, 12.0),
    probes: int | None = 1,
) -> Tensor:
    """An unbiased estimate of the bound on log p(x), in nats, (batch,), from ``draws`` times for each row.

    The path starts at the log-SNR ``log_snr[1]``, at x itself: p is the density of data with this much noise. It ends
    at ``log_snr[0]``, in the process's prior.

    Args:
        process: The affine process, of normal noise.
        denoise: E[x_0 | x_t], or what stands for it, differentiable; evaluated at times (batch,).
        x: Rows, (batch, *shape).
        noise: Draws the path, the times and the probes.
        draws: The range of log-SNR is divided into as many equal parts, and each row draws once in each.
        log_snr: The range of the path.
        probes: Random signs that estimate the divergence; None computes it exactly, by a derivative for each number.
    """
    process.require_gaussian("a score to be matched")
    schedule = process.schedule
    T, start = schedule.time(torch.tensor(log_snr, dtype=torch.float64)).tolist()
    first, end = schedule.at(start), schedule.at(T)
    low, high = end.log_snr, first.log_snr
    found = x.new_zeros(len(x))
    for part in range(draws):
        u = (part + noise.uniform(torch.empty(len(x), dtype=torch.float64))) / draws
        t = schedule.time(low + u * (high - low))
        sigma = schedule.at(t).sigma
        y = _on_the_path(process, x, first.alpha, first.sigma, t, noise)
        length, divergence = _score(process, denoise, y, t, noise, probes)
        found += (sigma**2).to(found) * (0.5 * length + divergence)
    shrunk = x[0].numel() * math.log(end.alpha / first.alpha)  # the integral of div f Y
    y = _on_the_path(process, x, first.alpha, first.sigma, torch.full((len(x),), T, dtype=torch.float64), noise)
    return process.prior(x, T).log_prob(y) - found * (high - low) / draws + shrunk


def _on_the_path(process: Affine, x: Tensor, alpha: float, sigma: float, t: Tensor, noise: Noise) -> Tensor:
    """A draw of Y_t given its start x, with (alpha, sigma): N(r x, sigma_t^2 - r^2 sigma^2), r = alpha_t/alpha."""
    now = process.schedule.at(t)
    r = now.alpha / alpha
    return combine(r, x, (now.sigma**2 - (r * sigma) ** 2).clamp(min=0).sqrt(), noise.normal(x))


def _score(
    process: Affine, denoise: Callable[[Tensor, Number], Tensor], y: Tensor, t: Tensor, noise: Noise, probes: int | None
) -> tuple[Tensor, Tensor]:
    """|s|^2 and div s at y, (batch,) each."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        s = to_score(process.schedule, y, denoise(y, t), t)
        vectors, weight = unit_vectors(y) if probes is None else signs(y, noise, probes)
        divergence = trace(s, y, vectors) * weight
    return total(s.detach() ** 2), divergence
