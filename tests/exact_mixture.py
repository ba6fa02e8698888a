"""The truth that samplers are held to: a Gaussian mixture, its exact denoiser, and the end of its probability flow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.process.schedule import Schedule


@dataclass
class Mixture:
    weights: Tensor  # (k,)
    means: Tensor  # (k, d)
    covariances: Tensor  # (k, d, d)

    def denoiser(self, schedule: Schedule):
        """E[x_0 | x_t], exactly: a mean of the components' means, by how probable x_t is under each."""
        variances, axes = torch.linalg.eigh(self.covariances)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            alpha, sigma, _ = schedule.at(t)
            total = alpha**2 * variances + sigma**2  # (k, d) of x_t
            off = torch.einsum("bkd,kde->bke", x_t[:, None] - alpha * self.means, axes)
            log_p = self.weights.log() - 0.5 * (off**2 / total + total.log()).sum(-1)
            means = self.means + torch.einsum("bke,kde->bkd", alpha * variances / total * off, axes)
            return (log_p.softmax(1)[..., None] * means).sum(1)

        return denoise

    def sample(self, count: int, seed: int = 0) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self.weights, count, replacement=True, generator=draw)
        z = torch.randn(count, self.means.shape[1], dtype=torch.float64, generator=draw)
        return self.means[which] + torch.einsum("bde,be->bd", torch.linalg.cholesky(self.covariances)[which], z)


def gaussian(mean: float, std: float, schedule: Schedule):
    """The exact denoiser of N(mean, std^2)."""

    def denoise(x_t: Tensor, t: float) -> Tensor:
        alpha, sigma, _ = schedule.at(t)
        return mean + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (x_t - alpha * mean)

    return denoise


def flow(mean: float, std: float, schedule: Schedule, x: Tensor, t: float, s: float) -> Tensor:
    """Where the probability flow of N(mean, std^2) carries x from t to s: (x - alpha mean)/spread is conserved."""
    (a, b, _), (c, d, _) = schedule.at(t), schedule.at(s)
    return c * mean + (x - a * mean) * ((c**2 * std**2 + d**2) / (a**2 * std**2 + b**2)) ** 0.5


def random_mixture(components: int, dimensions: int, seed: int = 0) -> Mixture:
    """Full covariances with decaying spectra, unit variance over all."""
    draw = torch.Generator().manual_seed(seed)
    means = torch.randn(components, dimensions, dtype=torch.float64, generator=draw) * 0.9
    axes = torch.linalg.qr(torch.randn(components, dimensions, dimensions, dtype=torch.float64, generator=draw))[0]
    spectrum = torch.logspace(0, -3, dimensions, dtype=torch.float64)
    covariances = torch.einsum("kde,e,kfe->kdf", axes, spectrum * 0.5, axes)
    return Mixture(torch.ones(components, dtype=torch.float64) / components, means, covariances)


def three_modes() -> Mixture:
    """A 2-D mixture of unequal weights and shapes, of about unit variance."""
    means = torch.tensor([[-1.2, 0.4], [0.9, 0.9], [0.6, -1.1]], dtype=torch.float64)
    covariances = torch.tensor(
        [[[0.09, 0.03], [0.03, 0.04]], [[0.02, 0.0], [0.0, 0.15]], [[0.05, -0.03], [-0.03, 0.06]]], dtype=torch.float64
    )
    return Mixture(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, covariances)
