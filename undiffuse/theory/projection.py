"""Diffusion as optimisation: a denoiser as a projection onto the data (Permenter and Yuan 2023, "Interpreting and
improving diffusion models from an optimization perspective").

If noise is small against the distance between points, the ideal denoiser returns the nearest point, and sampling is
gradient descent on the distance to the data. Everything here is in the coordinates x = x_t/alpha, with the noise level
sigma = sigma_t/alpha_t, in which the data is not scaled.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.exact import Empirical
from undiffuse.exact.empirical import squared_distances
from undiffuse.process import Affine
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ddim import DDIM


def smooth_squared_distance(x: Tensor, data: Tensor, sigma: float) -> Tensor:
    """dist^2_sigma(x) = -2 sigma^2 log sum_i exp(-||x - x_i||^2/(2 sigma^2)), (batch,).

    The squared distance to the data with a soft minimum; it may be negative. Half its gradient is the ideal
    denoiser's step, x - E[x_i | x] = sigma eps. (It has been published with -sigma^2 instead of -2 sigma^2, for which
    this is wrong by a factor of 2.) Differentiable in x.
    """
    squares = squared_distances(x.flatten(1), data.flatten(1))
    return -2 * sigma**2 * (-squares / (2 * sigma**2)).logsumexp(1)


def project(x: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest point of ``data`` (count, *shape) to each of x (batch, *shape), and the distance to it (batch,)."""
    square, index = squared_distances(x.flatten(1), data.flatten(1)).min(1)
    return data[index], square.sqrt()


def projection_error(process: Affine, denoise: Denoise, x_t: Tensor, t: float, data: Tensor) -> Tensor:
    """The distance of a denoiser from a projection, ||E[x_0 | x_t] - proj(x)||/dist(x) at x = x_t/alpha, (batch,).

    The paper's relative-error model assumes that it is below some eta < 1 along the trajectory (definition 3.1).
    """
    nearest, distance = project(x_t / process.schedule.at(t).alpha, data)
    return (denoise(x_t, t) - nearest).flatten(1).norm(dim=1) / distance


class Pull(NamedTuple):
    """How the data attracts a point, (batch, *shape) each."""

    field: Tensor  # E[x_0 | x] - x: towards the centre of mass as seen from x
    end: Tensor  # the training point at which it ends


@torch.no_grad()
def memorising_map(process: Affine, data: Tensor, x_t: Tensor, t: float, steps: int = 100) -> Pull:
    """Every training point is a small mass: the ideal denoiser's flow takes noise to training points.

    ``steps`` DDIM steps with the ideal denoiser, even in log-SNR until noise is small, and a last one to the data.
    """
    ideal = Empirical(process, data)
    schedule = process.schedule
    start = schedule.at(t)
    reach = float(data.flatten(1).std(0).norm())  # the width of the data
    levels = torch.linspace(max(start.log_snr, -20.0), -2 * torch.tensor(1e-4 * reach).log().item(), steps)
    times = (t, *schedule.time(levels.double())[1:].tolist(), 0.0)
    states = trajectory(DDIM(process), ideal, x_t, times, SeededNoise(0))
    return Pull(ideal(x_t, t) - x_t / start.alpha, last(states))
