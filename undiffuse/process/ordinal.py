"""Classes in a row, such as the levels of a pixel: a token moves to near classes.

A token jumps, at random times, up to ``reach`` classes up or down, reflected at the ends. The reflected walk on K
classes is a walk on a circle of 2K places, folded:

    Q(x, y) = c(x - y) + c(x + y + 1),        c(d) the probability that the walk on the circle has moved by d places.

The generator on the circle is diagonal in cosines: mode k decays at the rate l_k = 1 - mean of cos(pi k j/K) over
1 <= j <= reach. The walk's clock makes the slowest mode, k = 1, decay as a(t).

A Fourier transform gives c(d) with an absolute error of 1e-16. That is not enough for the posterior, which divides by
q(x_t | x_0): at small t, far classes have 1e-50 and less. There c is a sum over the number n of jumps,

    c(d) = sum_n Poisson(n; mean number of jumps) P^n(d),

whose terms are all positive; it is computed from their logarithms, with a small relative error, however small c is.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from undiffuse.core.distribution import log
from undiffuse.core.errors import UserError
from undiffuse.process.kernel import ALL, Survival, by_products, column, log_ratio

ROUNDING = 1e-12  # probabilities below it are rounding errors of a Fourier transform in float64
SURE = 1e-9  # probabilities above it have seven right digits after a Fourier transform
EXACT = 512  # classes up to which Q is computed as a matrix of logarithms; e^(K/e) must be a float64


@dataclass(frozen=True)
class Ordinal:
    """Jumps of up to ``reach`` classes either way, reflected at the ends.

    With reach 1, x_t is close to a discretised Gaussian, as D3PM's (Austin et al. 2021, A.2.3). Theirs is truncated,
    and corrected at the ends so that the uniform distribution stays stationary; a reflected walk needs no correction,
    and composes exactly. A wide reach is D3PM's band (A.2.1). For up to 512 classes the cost is K^2 and small
    probabilities are exact. For more it is K log K, by two Fourier transforms, and probabilities below 1e-12, where
    only rounding is left, are set to 1e-12.
    """

    reach: int = 1

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise UserError(f"reach, the most classes that a jump may span, must be at least 1, not {self.reach}")

    @property
    def extra(self) -> int:
        """None: noise is any class."""
        return 0

    def forward(self, probs: Tensor, s: Survival, t: Survival) -> Tensor:
        """Q is symmetric."""
        precise, classes = _precise(probs), probs.shape[-1]
        if classes <= EXACT:
            rows = precise.reshape(len(probs), -1, classes) @ self._log_matrix(precise, s, t).exp()
            return rows.view_as(probs).to(probs)
        rates = decay_rates(classes, self.reach)
        share = column(log_ratio(s, t), precise) * (rates / rates[1]).to(precise)
        waves = torch.fft.rfft(torch.cat([precise, precise.flip(-1)], -1)) * share.exp()
        return torch.fft.irfft(waves, 2 * classes)[..., :classes].clamp_min(ROUNDING).to(probs)

    backward = forward

    def log_bridge(self, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
        """log of Q(x_s, x_t) sum over x_0 of p(x_0) Q(x_0, x_s)/Q(x_0, x_t): see `Kernel`.

        The sum is a product with a matrix, one for the x_0 on each side of x_t. Below x_t its factors are multiplied by
        e^(-h (x_t - x_0)) and e^(h (x_s - x_0)), the result by e^(h (x_t - x_s)); above x_t with -h for h. With h the
        mean slope of -log Q(0 -> t), which is convex, no number leaves the range of float64.
        """
        classes = belief.shape[-1]
        if classes > EXACT:
            return by_products(self, belief, x_t, s, t)
        share = _precise(belief).reshape(len(belief), -1, classes)
        to_s, step, to_t = (self._log_matrix(share, *times) for times in ((ALL, s), (s, t), (ALL, t)))
        place = torch.arange(classes, device=belief.device)
        here = x_t.reshape(len(x_t), -1)
        gap = (here[..., None] - place).to(share)  # x_t - x
        slope = (to_t[:, 0, 0] - to_t[:, 0, -1]).view(-1, 1, 1) / max(classes - 1, 1)
        slope = slope.where(slope.isfinite(), 0.0)  # at t = 0 nothing is lost
        cost = -_rows(to_t, here)
        found = torch.zeros_like(share)
        for side, of_side in ((1, gap >= 0), (-1, gap < 0)):
            possible = of_side & cost.isfinite()
            ratio = share * (cost - side * slope * gap).masked_fill(~possible, -math.inf).exp()
            there = ratio @ (to_s + side * slope * (place - place[:, None])).exp()
            found = found + there * (slope * (side * gap - gap.abs())).exp()
        return (log(found) + slope * gap.abs() + _rows(step, here)).view_as(belief)

    def _log_matrix(self, like: Tensor, s: Survival, t: Survival) -> Tensor:
        """log Q(s -> t), (batch or 1, K, K)."""
        classes = like.shape[-1]
        gone = log_displacements(classes, self.reach, log_ratio(s, t).view(-1)).to(like)
        place = torch.arange(classes, device=like.device)
        apart, over = (place - place[:, None]).abs(), place + place[:, None] + 1
        return torch.logaddexp(gone[:, apart], gone[:, torch.minimum(over, 2 * classes - over)])


def log_displacements(classes: int, reach: int, logarithm: Tensor) -> Tensor:
    """log c(d), d = 0 ... K, where log a(t)/a(s) is ``logarithm`` (batch,): (batch, K + 1) float64."""
    rates = decay_rates(classes, reach)
    jumps = -logarithm / rates[1]
    waves = torch.expm1(-jumps[:, None] * rates)  # without the 1 of a walk that stays, which would cost digits
    gone = torch.fft.irfft(waves, 2 * classes)[:, : classes + 1]
    gone[:, 0] += 1
    logs = gone.clamp_min(SURE).log()
    for i in (gone.amin(1) < SURE).nonzero().flatten().tolist():
        logs[i] = _by_jumps(classes, reach, float(jumps[i]))
    return logs


def _by_jumps(classes: int, reach: int, mean: float) -> Tensor:
    """log c(d), as the sum over the number of jumps, whose mean is ``mean``: (K + 1,)."""
    likely = mean + classes / reach  # jumps enough to reach the farthest class
    count = math.ceil(likely + 10 * math.sqrt(likely) + 30)
    n = torch.arange(count, dtype=torch.float64)
    chance = torch.xlogy(n, mean) - mean - torch.lgamma(n + 1)
    return torch.logsumexp(chance[:, None] + _log_walks(classes, reach, 1 << count.bit_length())[:count], 0)


@lru_cache(maxsize=4)
def _log_walks(classes: int, reach: int, count: int) -> Tensor:
    """log P^n(d) for n = 0 ... count - 1 jumps on the circle, (count, K + 1)."""
    probs = torch.zeros(2 * classes, dtype=torch.float64)
    probs[0] = 1
    walks = []
    for _ in range(count):
        walks.append(probs[: classes + 1])
        probs = sum((probs.roll(j) + probs.roll(-j) for j in range(1, reach + 1)), torch.zeros(())) / (2 * reach)
    return torch.stack(walks).log()


@lru_cache(maxsize=16)
def decay_rates(classes: int, reach: int) -> Tensor:
    """l_k for k = 0 ... K, float64 on the CPU."""
    k, jumps = torch.arange(classes + 1, dtype=torch.float64), torch.arange(1, reach + 1, dtype=torch.float64)
    return 2 * (0.5 * math.pi / classes * k[:, None] * jumps).sin().square().mean(1)  # 1 - cos, without cancellation


def _rows(matrix: Tensor, which: Tensor) -> Tensor:
    """Rows ``which`` (batch, entries) of (batch or 1, K, K): (batch, entries, K)."""
    return matrix.expand(len(which), -1, -1).gather(1, which[..., None].expand(-1, -1, matrix.shape[-1]))


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)
