"""Classes in a row, such as the levels of a pixel: a token drifts to those near it.

A token jumps, at random times, up to ``reach`` classes up or down, reflected at the ends. The reflected walk on K
classes is a walk on a circle of 2K, folded:

    Q(x, y) = c(x - y) + c(x + y + 1),        c(d) the probability that the circle's walk has gone d places round

and the circle's generator is diagonal in cosines, mode k decaying at the rate l_k = 1 - mean of cos(pi k j/K) over
1 <= j <= reach. The walk's time is such that the slowest mode, k = 1, decays as a(t) does.

A Fourier transform knows c(d) to 1e-16 of the whole. That is too little for the posterior, which divides by
q(x_t | x_0): soon after the start, far classes have 1e-50 and less. There c is summed over the numbers n of jumps,

    c(d) = sum_n Poisson(n; jumps on average) P^n(d),

terms that are all positive, by their logarithms: right in every digit, however small.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from undiffuse.core.distribution import log
from undiffuse.core.errors import UserError
from undiffuse.process.kernel import ALL, Survival, by_products, column, log_ratio

ROUNDING = 1e-12  # what a Fourier transform in float64 does not tell from 0
SURE = 1e-9  # above it, what a Fourier transform says is right to seven digits
EXACT = 512  # classes up to which Q is written out, right in every digit; e^(K/e) must be a float64


@dataclass(frozen=True)
class Ordinal:
    """Jumps of up to ``reach`` classes either way, reflected at the ends.

    With reach 1 the law of x_t tends to a discretised Gaussian (D3PM's, Austin et al. 2021, A.2.3: theirs is cut and
    then corrected at the ends to keep the uniform law; a reflected walk keeps it as it is, and composes exactly); a
    wide reach is D3PM's band (A.2.1). Cost K^2, exact, for up to 512 classes; for more K log K by two fast cosine
    transforms, and probabilities below 1e-12, which they cannot tell from rounding, are set there.
    """

    reach: int = 1

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise UserError(f"reach is how many classes a jump may span, at least 1, not {self.reach}")

    @property
    def extra(self) -> int:
        """None: noise is any class."""
        return 0

    def forward(self, law: Tensor, s: Survival, t: Survival) -> Tensor:
        """Q is symmetric."""
        precise, classes = _precise(law), law.shape[-1]
        if classes <= EXACT:
            rows = precise.reshape(len(law), -1, classes) @ self._log_matrix(precise, s, t).exp()
            return rows.view_as(law).to(law)
        rates = decay_rates(classes, self.reach)
        share = column(log_ratio(s, t), precise) * (rates / rates[1]).to(precise)
        waves = torch.fft.rfft(torch.cat([precise, precise.flip(-1)], -1)) * share.exp()
        return torch.fft.irfft(waves, 2 * classes)[..., :classes].clamp_min(ROUNDING).to(law)

    backward = forward

    def log_bridge(self, belief: Tensor, x_t: Tensor, s: Survival, t: Survival) -> Tensor:
        """log of Q(x_s, x_t) sum over x_0 of p(x_0) Q(x_0, x_s)/Q(x_0, x_t): see `Kernel`.

        The sum is a product with a matrix, one for the x_0 on either side of x_t, whose terms are multiplied by
        e^(-h |x_t - x_0|) and e^(h (x_s - x_0)), and the result by e^(h (x_t - x_s)): with h the mean slope of
        -log Q(0 -> t), which is convex, all of them are numbers that float64 has.
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
        slope = slope.where(slope.isfinite(), 0.0)  # nothing was lost
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
    """log c(d), d = 0 ... K, where a(t)/a(s) has the logarithms ``logarithm`` (batch,): (batch, K + 1) float64."""
    rates = decay_rates(classes, reach)
    jumps = -logarithm / rates[1]
    waves = torch.expm1(-jumps[:, None] * rates)  # without the walk that stays, next to which rare ones are rounding
    gone = torch.fft.irfft(waves, 2 * classes)[:, : classes + 1]
    gone[:, 0] += 1
    logs = gone.clamp_min(SURE).log()
    for i in (gone.amin(1) < SURE).nonzero().flatten().tolist():
        logs[i] = _by_jumps(classes, reach, float(jumps[i]))
    return logs


def _by_jumps(classes: int, reach: int, mean: float) -> Tensor:
    """log c(d) by the sum over numbers of jumps, of which ``mean`` are expected: (K + 1,)."""
    likely = mean + classes / reach  # where far classes are reached at last
    count = math.ceil(likely + 10 * math.sqrt(likely) + 30)
    n = torch.arange(count, dtype=torch.float64)
    chance = torch.xlogy(n, mean) - mean - torch.lgamma(n + 1)
    return torch.logsumexp(chance[:, None] + _log_walks(classes, reach, 1 << count.bit_length())[:count], 0)


@lru_cache(maxsize=4)
def _log_walks(classes: int, reach: int, count: int) -> Tensor:
    """log P^n(d) for n = 0 ... count - 1 jumps on the circle, (count, K + 1)."""
    law = torch.zeros(2 * classes, dtype=torch.float64)
    law[0] = 1
    walks = []
    for _ in range(count):
        walks.append(law[: classes + 1])
        law = sum((law.roll(j) + law.roll(-j) for j in range(1, reach + 1)), torch.zeros(())) / (2 * reach)
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
