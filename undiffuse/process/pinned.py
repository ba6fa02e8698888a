"""A process between two distributions: a Brownian bridge from x_0 to x_1, both of them data.

    x_t = (1 - t) x_0 + t x_1 + sigma sqrt(t (1 - t)) w,        w ~ N(0, I)

It is the affine process whose noise z is x_1, with a noise of its own that vanishes at both ends. With sigma = 0 it is
the straight line of flow matching and of iterative alpha-deblending. With sigma > 0 it is the reference of the
Schroedinger bridge (Shi et al. 2023) and of I2SB (Liu et al. 2023) and, with sigma = 1, the stochastic interpolant of
latent noise gamma = sqrt(t (1 - t)) (Albergo et al. 2023). The ends may depend on each other: see
`undiffuse.loss.coupling`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undiffuse.core.distribution import Normal
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, combine, expand
from undiffuse.core.noise import Noise
from undiffuse.process.affine import Affine, Belief
from undiffuse.process.curves import Flow
from undiffuse.process.schedule import Schedule


class StoredRows(nn.Module):
    """The distribution of x_1 as rows of data, standardised, of which one is drawn for each sample.

    They are stored with the model, so that a bridge samples where its data is not at hand; with their labels, if labels
    go across the bridge.
    """

    is_gaussian = False
    rows: Tensor  # (count, *shape)
    labels: Tensor | None  # (count,), in rising order

    def __init__(self, count: int, shape: tuple[int, ...], labelled: bool = False) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(count, *shape))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64) if labelled else None)

    @torch.no_grad()
    def fill(self, x: Tensor, seed: int, labels: Tensor | None = None) -> None:
        """Keep as many of the rows x (any count, *shape), drawn by ``seed``; some of them twice only if there are too
        few. ``labels`` are theirs, (any count,)."""
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        chosen = order[torch.arange(len(self.rows)) % len(x)]
        if self.labels is not None and labels is not None:
            chosen = chosen[labels[chosen].argsort(stable=True)]
            self.labels.copy_(labels[chosen])
        self.rows.copy_(x[chosen])

    def sample(self, like: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """Rows in the shape, dtype and device of ``like``; of these ``labels`` (batch,), where they are not negative.

        Raises UserError for a label that no row has.
        """
        u = noise.uniform(torch.empty(len(like), dtype=torch.float64))
        first, count = torch.zeros(len(like)).long(), torch.full((len(like),), len(self.rows))
        if self.labels is not None and labels is not None:
            known, wanted = self.labels.cpu(), labels.cpu()
            low, high = (torch.searchsorted(known, wanted, right=right) for right in (False, True))
            first, count = first.where(wanted < 0, low), count.where(wanted < 0, high - low)
        if not count.all():
            raise UserError(
                "of the rows that this bridge keeps to start from, none has this label; train with more --kept"
            )
        return self.rows[(first + (u * count).long()).to(self.rows.device)].to(like)

    def log_density(self, square: Tensor, size: int) -> Tensor:
        """Raises UserError: the density of data is not known."""
        raise UserError("a bridge begins at data, whose density is not known, so that it gives no likelihood")

    def __str__(self) -> str:
        return "a bridge between two data sets"


@dataclass(frozen=True)
class Pinned(Affine):
    """q(x_t | x_0, x_1) = N((1 - t) x_0 + t x_1, sigma^2 t (1 - t)); x_1 ~ ``z``, data or N(0, I)."""

    schedule: Schedule = field(default_factory=Flow)
    sigma: float = 0.0

    def deviation(self, t: Number) -> Number:
        """The standard deviation of x_t given both ends: sigma sqrt(t (1 - t))."""
        return self.sigma * (t * (1 - t)) ** 0.5

    def between(self, x_0: Tensor, x_1: Tensor, t: Number, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """A draw of x_t, (batch, *shape), and the w in it; None if sigma = 0."""
        middle = self.mix(x_0, x_1, t)
        if self.sigma == 0:
            return middle, None
        w = noise.normal(x_0)
        return combine(1.0, middle, self.deviation(t), w), w

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts: x_1 as it is, as a grid that starts a little below t = 1 has it too."""
        return self.z.sample(like, noise)

    def input_scale(self, t: Number) -> Number:
        """1/std of x_t, for independent ends of unit variance."""
        return 1 / ((1 - t) ** 2 + t**2 + self.deviation(t) ** 2) ** 0.5

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t as it is: neither end is noise."""
        return x_t

    def level(self, t: float) -> str:
        """How far it has come, in words."""
        return f"{1 - t:.0%} of the way"

    def time(self, share: float) -> float:
        """Raises UserError: what a bridge adds is no noise."""
        raise UserError("a bridge begins at data and not at noise; take a picture across it: undiffuse translate")

    def posterior(self, x_t: Tensor, x_0: Tensor | Belief, t: float, s: float) -> Normal:
        """q(x_s | x_t, x_0) for s < t: N(x_0 + s/t (x_t - x_0), sigma^2 s (t - s)/t), whatever x_1 was.

        By symmetry, with x_1 in place of x_0 it is the posterior on the way back, in the time 1 - t.
        """
        end = x_0.mean if isinstance(x_0, Belief) else x_0
        return Normal(combine(s / t, x_t, 1 - s / t, end), self.sigma * math.sqrt(s * (t - s) / t))

    def require_gaussian(self, what: str) -> None:
        """Raises UserError: the ends are data, or are coupled."""
        raise UserError(f"only Gaussian noise has {what}, and a bridge goes from data to data")

    def require_fresh_noise(self) -> None:
        """Raises UserError: fresh noise is added by the step `undiffuse.step.bridge` alone."""
        self.require_gaussian("steps that add its noise")


@dataclass(frozen=True)
class SymmetricClock:
    """The time at which a bridge of even noise is where I2SB's is at u, (0, 1) -> (0, 1) and back.

    I2SB's noise has a rate beta(u) that rises to the middle and falls as it rose, sqrt(beta) linearly. Its bridge is
    the Brownian bridge at the time t = B(u)/B(1), B the integral of beta (Liu et al. 2023, eq. 11):

        t = (s^3 - 1)/(2 (q^3 - 1)),    s = 1 + 2 (q - 1) u,    q = sqrt(``ratio``)        for u <= 1/2
        t = 1 - t(1 - u)                                                                   after it

    ``ratio`` is beta in the middle over beta at the ends, above 1.
    """

    ratio: float = (0.5 + 0.5 * math.sqrt(3.0)) ** 2  # I2SB's beta, from 1e-4 to 3e-4 had it not turned half way

    def __post_init__(self) -> None:
        if not 1 < self.ratio < math.inf:
            raise UserError(f"beta in the middle over beta at the ends is above 1, not {self.ratio:g}")

    def time(self, u: Tensor) -> Tensor:
        """t of u, any shape."""
        q = math.sqrt(self.ratio)
        return _mirrored(u, lambda u: ((1 + 2 * (q - 1) * u) ** 3 - 1) / (2 * (q**3 - 1)))

    def rate(self, t: Tensor) -> Tensor:
        """du/dt, any shape: the density of t for even u."""
        q = math.sqrt(self.ratio)
        s = (1 + 2 * (q**3 - 1) * torch.minimum(t, 1 - t)) ** (1 / 3)
        return (q**3 - 1) / (3 * (q - 1) * s**2)


def _mirrored(u: Tensor, of_half: Callable[[Tensor], Tensor]) -> Tensor:
    """A function with f(1 - u) = 1 - f(u), by its first half."""
    half = of_half(torch.minimum(u, 1 - u))
    return torch.where(u <= 0.5, half, 1 - half)


def way(t: Number, sigma: float) -> Number:
    """The root mean square of x_1 - x_t, ends independent and of unit variance: what is left to go, in standard units.

    x_1 - x_t = (1 - t) (x_1 - x_0) - sigma sqrt(t (1 - t)) w, so its square is (1 - t) (2 (1 - t) + sigma^2 t).
    """
    return ((1 - t) * (2 * (1 - t) + sigma**2 * t)) ** 0.5


def moved_to(x_t: Tensor, distance: Number, y: Tensor) -> Tensor:
    """x_t + distance y: an end, from what the network says of the way to it."""
    return x_t + expand(distance, x_t) * y
