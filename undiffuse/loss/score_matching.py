"""Score matching: fitting s(x) to grad log p(x), from samples of p only.

An objective takes a plain score, `score(x) -> like x`, and returns one number for each sample. Its mean is minimal at
the true score: up to a constant that does not depend on s, it is  1/2 E|s(x) - grad log p(x)|^2.

    objective(score, x, noise) -> (batch,)

`Implicit` and `Sliced` match the score of p; `Smoothed` that of p with Gaussian noise added, without a derivative of s.
For a network s(x, sigma), `annealed` draws the noise levels (NCSN). `ScoreMatching` trains a `Denoiser`, which gives a
score at every t, by `Implicit` or `Sliced`; trained by `Smoothed` it would be `Denoising(weight=Simple())`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.distribution import total
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, expand
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import to_score
from undiffuse.loss.denoising import cast
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import TimeDistribution, Uniform

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Smoothed:
    """Denoising score matching: 1/2 |s(x + sigma z) + z/sigma|^2, with p smoothed by N(0, sigma^2) (Vincent 2011, eq.
    9).

    ``sigma`` is a number, or (batch,).
    """

    sigma: Number

    def __call__(self, score: Score, x: Tensor, noise: Noise) -> Tensor:
        """(batch,)."""
        z = noise.normal(x)
        sigma = expand(self.sigma, x)
        return 0.5 * total((score(x + sigma * z) + z / sigma) ** 2)


@dataclass(frozen=True)
class Implicit:
    """Tr grad s(x) + 1/2 |s(x)|^2 (Hyvarinen 2005, theorem 1). The trace is exact: one derivative for each entry of
    x."""

    def __call__(self, score: Score, x: Tensor, noise: Noise) -> Tensor:
        """(batch,). The score of one sample must not depend on the others."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            s = score(x)
            flat = s.flatten(1)
            rows = [_gradient(flat[:, i].sum(), x).flatten(1)[:, i] for i in range(flat.shape[1])]
        return torch.stack(rows).sum(0) + 0.5 * total(s**2)


@dataclass(frozen=True)
class Sliced:
    """v . grad (v . s(x)) + 1/2 (v . s(x))^2 along random v ~ N(0, I): one derivative each (Song et al. 2019, eq. 8).

    ``reduced`` replaces the second term by its expectation, 1/2 |s|^2, for less variance (their eq. 9, SSM-VR).
    """

    directions: int = 1
    reduced: bool = True

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise UserError(f"sliced score matching needs directions >= 1, not {self.directions}")

    def __call__(self, score: Score, x: Tensor, noise: Noise) -> Tensor:
        """(batch,)."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            s = score(x)
            along = [self._along(noise.normal(x), s, x) for _ in range(self.directions)]
        mean = torch.stack(along).mean(0)
        return mean + 0.5 * total(s**2) if self.reduced else mean

    def _along(self, v: Tensor, s: Tensor, x: Tensor) -> Tensor:
        projected = total(v * s)
        curvature = total(v * _gradient(projected.sum(), x))
        return curvature if self.reduced else curvature + 0.5 * projected**2


def annealed(score: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor, noise: Noise) -> Tensor:
    """NCSN's loss (batch,) of s(x, sigma), sigma (batch,): sigma^2 x `Smoothed`, with one of ``sigmas`` for each
    sample.

    Song and Ermon 2019, eqs. 5-6; lambda = sigma^2 gives all levels about the same weight.
    """
    which = noise.uniform(torch.empty(len(x), dtype=torch.float64)) * len(sigmas)
    sigma = sigmas.to(x)[which.long().to(x.device)]
    return sigma**2 * Smoothed(sigma)(lambda noisy: score(noisy, sigma), x, noise)


@dataclass(frozen=True)
class ScoreMatching(Loss[Denoiser]):
    """Implicit or sliced score matching of a denoiser on x_t, weighted by sigma^2; the mean over entries.

    In expectation, up to a constant, it is half of `Denoising(weight=Simple())`, whose variance is far lower.
    """

    objective: Sliced | Implicit = field(default_factory=Sliced)
    time: TimeDistribution = field(default_factory=Uniform)

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError where a variance is learned, and for noise that is not Gaussian."""
        denoiser.require_mean_alone("score-matching")
        denoiser.process.require_gaussian("a score by implicit or sliced matching")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,) of x_0 (batch, *shape). Raises `UserError` for noise that is not Gaussian."""
        process, schedule = denoiser.process, denoiser.process.schedule
        process.require_gaussian("a score by implicit or sliced matching")
        t = self.time.sample(len(x_0), noise, schedule)

        def score(x_t: Tensor) -> Tensor:
            return to_score(schedule, x_t, denoiser(x_t, t, conditions), t)

        weight = schedule.at(t).sigma ** 2 / x_0[0].numel()
        losses = cast(weight, x_0) * self.objective(score, process.corrupt(x_0, t, noise), noise)
        return losses * cast(self.time.importance(t, schedule), x_0)


def _gradient(of: Tensor, x: Tensor) -> Tensor:
    """d of/dx, itself differentiable; zeros if ``of`` does not depend on x."""
    if not of.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(of, x, create_graph=True, materialize_grads=True)[0]
