"""The affine process: x_t = alpha(t) x_0 + sigma(t) z.

One class for DDPM, cosine, VE, EDM, rectified flow and learned schedules: they differ in the schedule. z is
standard normal, or follows another `NoiseDistribution` (PFGM++). Only a normal z has a posterior, and a bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from undiffuse.core.distribution import Normal
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, combine, expand, scale
from undiffuse.core.noise import Noise
from undiffuse.process.radial import GaussianNoise, NoiseDistribution
from undiffuse.process.schedule import Schedule, logit, time_at


class Belief(NamedTuple):
    """A belief about x_0 given x_t: its mean, and the variance of a step back.

    ``v`` in [0, 1] places the log-variance of a step between its bounds, entry by entry: beta-tilde (v = 0: x_0 is
    known) and beta (v = 1: x_0 is Gaussian with unit variance). Nichol and Dhariwal 2021, eq. 15.
    """

    mean: Tensor  # (batch, *shape)
    v: Number | Tensor = 0.0  # a number or (batch, *shape)


@dataclass(frozen=True)
class Affine:
    """q(x_t | x_0) is the distribution of alpha(t) x_0 + sigma(t) z."""

    schedule: Schedule
    z: NoiseDistribution = field(default_factory=GaussianNoise)
    sigma_data: float = 1.0  # the data's standard deviation, 1 after normalising

    def mix(self, x_0: Tensor, z: Tensor, t: Number) -> Tensor:
        """alpha(t) x_0 + sigma(t) z. t is a number, or (batch,)."""
        alpha, sigma, _ = self.schedule.at(t)
        return combine(alpha, x_0, sigma, z)

    def corrupt(self, x_0: Tensor, t: Number, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0), (batch, *shape)."""
        return self.mix(x_0, self.z.sample(x_0, noise), t)

    def further(self, x_s: Tensor, s: float, t: float, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_s) for t > s: N(r x_s, sigma_t^2 - r^2 sigma_s^2), r = alpha_t/alpha_s."""
        self.require_fresh_noise()
        now, then = self.schedule.at(s), self.schedule.at(t)
        r = then.alpha / now.alpha
        fresh = then.sigma * math.sqrt(-math.expm1(then.log_snr - now.log_snr))
        return combine(r, x_s, fresh, noise.normal(x_s))

    def start(self, like: Tensor, noise: Noise, t: float = 1.0) -> Tensor:
        """Where sampling starts at time t: noise with the standard deviation of x_t.

        That is sqrt(alpha^2 sigma_data^2 + sigma^2): exact for normal data, for other data an approximation whose error
        vanishes with alpha(t).
        """
        return self.z.sample(like, noise) * self._spread(t)

    def input_scale(self, t: Number) -> Number:
        """1/std of x_t, so that networks see unit variance (Karras et al. 2022, c_in)."""
        alpha, sigma, _ = self.schedule.at(t)
        return 1 / (alpha**2 * self.sigma_data**2 + sigma**2) ** 0.5

    discrete = False  # tokens, and nothing else
    guidable = True  # whether guides can combine two beliefs about it
    width = 1  # how many numbers of memory each entry of a state takes

    def blank(self, count: int, shape: Sequence[int], device: torch.device) -> Tensor:
        """Empty states (count, *shape)."""
        return torch.zeros(count, *shape, device=device)

    def shown(self, x_t: Tensor, t: float) -> Tensor:
        """x_t scaled to the standard deviation of the data, so that noise looks the same with every schedule."""
        return x_t if t == 0 else scale(self.input_scale(t), x_t)

    def level(self, t: float) -> str:
        """The noise level, in words."""
        alpha, sigma, _ = self.schedule.at(t)
        return f"noise {sigma / (alpha + sigma):.0%}"

    def time(self, share: float) -> float:
        """The time at which this share, in (0, 1), is noise: sigma/(alpha + sigma), as `level` says it."""
        return time_at(self.schedule, 2 * logit(1 - share))

    def reveal(self, x_t: Tensor, x_0: Tensor, known: Tensor) -> Tensor:
        """What a denoiser is shown where x_0 is known: x_t, which is x_0 with the noise of time t there too."""
        return x_t

    def hints(self, known: Tensor) -> dict[str, Tensor]:
        """Further arguments of the denoiser that say which entries are known: none."""
        return {}

    def settle(self, belief: Any, x_0: Tensor, known: Tensor, ruled_out: Tensor | None = None) -> Any:
        """The belief, with x_0 in the place of what is known."""
        if isinstance(belief, Belief):
            return belief._replace(mean=torch.where(known, x_0, belief.mean))
        return torch.where(known, x_0, belief)

    def marginal(self, x_0: Tensor, t: Number) -> Normal:
        """q(x_t | x_0) = N(alpha x_0, sigma^2)."""
        self.require_gaussian("a marginal distribution in closed form")
        alpha, sigma, _ = self.schedule.at(t)
        return Normal(x_0 * expand(alpha, x_0), expand(sigma, x_0))

    def prior(self, like: Tensor, t: float = 1.0) -> Normal:
        """The distribution of x_t when x_0 is unknown: N(0, alpha^2 sigma_data^2 + sigma^2)."""
        self.require_gaussian("a prior in closed form")
        return Normal(torch.zeros_like(like), self._spread(t))

    def posterior(self, x_t: Tensor, x_0: Tensor | Belief, t: float, s: float) -> Normal:
        """q(x_s | x_t, x_0) for s < t, with x_0 known, or a belief.

        With w = 1 - SNR(t)/SNR(s), the mean is (1 - w) alpha_s/alpha_t x_t + w alpha_s x_0. The variance is
        beta-tilde = w sigma_s^2 if x_0 is known (Ho et al. 2020, eqs. 6-7). A belief multiplies it by `widening`^(2 v).
        """
        self.require_gaussian("a posterior")
        mean, v = x_0 if isinstance(x_0, Belief) else Belief(x_0)
        now, then = self.schedule.at(t), self.schedule.at(s)
        w = -math.expm1(now.log_snr - then.log_snr)
        keep = now.alpha * (then.sigma / now.sigma) ** 2 / then.alpha  # alpha may be 0 at t, sigma at s
        std: Number = math.sqrt(w) * then.sigma
        if then.sigma > 0:  # at s = 0 the step ends in x_0 itself
            widening = self.widening(t, s)
            std = std * (widening**v if isinstance(v, float) else torch.exp(v * math.log(widening)))
        return Normal(combine(keep, x_t, w * then.alpha, mean), std)

    @overload
    def widening(self, t: float, s: float) -> float: ...
    @overload
    def widening(self, t: Tensor, s: Tensor) -> Tensor: ...
    def widening(self, t: Number, s: Number) -> Number:
        """The factor on the standard deviation of a step from t to s > 0 when x_0 is Gaussian instead of known.

        For Gaussian data with standard deviation sigma_data the step has the variance
        w sigma_t^2 spread_s^2/spread_t^2, spread^2 = alpha^2 sigma_data^2 + sigma^2, instead of w sigma_s^2. If
        variance is preserved and sigma_data = 1, that is beta = w sigma_t^2.
        """
        return self.schedule.at(t).sigma * self.input_scale(t) / (self.schedule.at(s).sigma * self.input_scale(s))

    def decoder(self, x_t: Tensor, x_0: Tensor | Belief, t: float) -> Normal:
        """p(x_0 | x_t) at a small t, the bound's last term: N(x_t/alpha, (sigma/alpha)^2).

        It uses x_t only, not the belief; it is exact as t -> 0 for any smooth density.
        """
        self.require_gaussian("a decoder")
        alpha, sigma, _ = self.schedule.at(t)
        return Normal(x_t / alpha, sigma / alpha)

    def _spread(self, t: float) -> float:
        alpha, sigma, _ = self.schedule.at(t)
        return math.hypot(alpha * self.sigma_data, sigma)

    def require_gaussian(self, what: str) -> None:
        """Raises `UserError` if z is not normal; only normal noise has ``what``."""
        if not self.z.is_gaussian:
            raise UserError(f"only Gaussian noise has {what}, not {self.z}; use an ODE sampler such as heun")

    def require_fresh_noise(self) -> None:
        """Raises `UserError` if steps cannot add noise: only Gaussian noise has a known increment between two times."""
        self.require_gaussian("steps that add fresh noise")
