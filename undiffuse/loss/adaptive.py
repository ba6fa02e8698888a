"""Laws of t that learn where the loss is large, and spend their draws there.

The objective stays what it is under uniform times, or under a weight over log-SNR: a draw counts 1/density. Only the
noise of its gradient falls. Both laws are piecewise constant densities over bins, kept as buffers, so that they are
saved with the model. They read the losses on the host, once a step.
"""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.modules import HostModule
from undiffuse.loss.draws import Draws, Independent
from undiffuse.loss.time import LawOfTime, fall
from undiffuse.process.schedule import Schedule

TINY = 1e-6  # a draw lies inside its bin, by this share of it


class Binned(LawOfTime, HostModule):
    """A piecewise constant density over equal bins of [0, 1], which a subclass learns and reads as times."""

    bins: int

    @abstractmethod
    def probs(self) -> Tensor:
        """The probability of each bin, (bins,) float64, all positive."""

    def counts(self, t: Tensor, schedule: Schedule) -> Tensor:
        """1/density: the objective is as if times were uniform."""
        return 1 / self.density(t, schedule)

    def _place(self, u: Tensor) -> Tensor:
        """Where in [0, 1] the share u is reached: the inverse of a piecewise linear function."""
        probs = self.probs()
        reached = probs.cumsum(0)
        bin = torch.searchsorted(reached, u * reached[-1]).clamp_max(self.bins - 1)
        inside = (u * reached[-1] - (reached - probs)[bin]) / probs[bin]
        return (bin + inside.clamp(TINY, 1)) / self.bins

    def _bin(self, place: Tensor) -> Tensor:
        """The bin of a place: (i/bins, (i + 1)/bins] is bin i. Rounding on the edges is forgiven."""
        return (place * self.bins - 1e-9).ceil().long().clamp(1, self.bins) - 1


@dataclass(eq=False, repr=True)
class Importance(Binned):
    """Improved DDPM's: p_i ~ sqrt(E[L_i^2]), the least variance there is (Nichol and Dhariwal 2021, section 3.3).

    Uniform until every bin has ``history`` losses. ``explore`` of all draws stay uniform. The paper's T = ``bins`` =
    1000 discrete times with ``discrete``.
    """

    bins: int = 1000
    history: int = 10
    explore: float = 0.001
    discrete: bool = False
    draws: Draws = field(default_factory=Independent)

    def __post_init__(self) -> None:
        HostModule.__init__(self)
        if self.bins < 1 or self.history < 1 or not 0 < self.explore <= 1:
            raise UserError(f"importance sampling needs bins >= 1, history >= 1 and explore in (0, 1], not {self}")
        self.register_buffer("losses", torch.zeros(self.bins, self.history, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(self.bins, dtype=torch.int64))
        self.losses: Tensor
        self.seen: Tensor

    @property
    def steps(self) -> int | None:
        """T = ``bins``, if times are discrete."""
        return self.bins if self.discrete else None

    def probs(self) -> Tensor:
        """The root mean square of a bin's last losses, normalised, and a little for all."""
        even = torch.full((self.bins,), 1 / self.bins, dtype=torch.float64)
        size = self.losses.square().mean(1).sqrt()
        if self.seen.min() < self.history or not 0 < size.sum() < float("inf"):
            return even
        return torch.lerp(size / size.sum(), even, self.explore)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """By inversion; discrete times are the upper ends of their bins."""
        place = self._place(u)
        return (self._bin(place) + 1).double() / self.bins if self.discrete else place

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """Bins times the probability of t's."""
        return self.probs()[self._bin(t)] * self.bins

    @torch.no_grad()
    def update(self, t: Tensor, loss: Tensor, schedule: Schedule) -> None:
        """Each bin remembers its last ``history`` losses (as they are before they count more or less)."""
        loss = loss.detach().cpu().double() * self.density(t, schedule)
        bins, order = self._bin(t).sort(stable=True)
        hits = torch.bincount(bins, minlength=self.bins)
        rank = torch.arange(len(bins)) - (hits.cumsum(0) - hits)[bins]  # the how-many-th of its bin
        last = rank >= hits[bins] - self.history  # what would be overwritten at once is not written
        slot = (self.seen[bins] + rank) % self.history
        self.losses[bins[last], slot[last]] = loss[order][last]
        self.seen += hits


@dataclass(eq=False, repr=True)
class Adaptive(Binned):
    """Kingma and Gao's: p(log_snr) ~ E[w |error|^2 at log_snr], so that all draws weigh the same (2023, appendix F).

    The expectation is a moving average in ``bins`` of log-SNR over ``log_snr_range`` (as far as the schedule goes),
    forgetting ``1 - decay`` with each new loss. ``explore`` of all draws are uniform in log-SNR. Outside of the range
    nothing is drawn: the objective ends there.
    """

    bins: int = 100
    log_snr_range: tuple[float, float] = (-20.0, 20.0)
    decay: float = 0.99
    explore: float = 0.01
    draws: Draws = field(default_factory=Independent)

    def __post_init__(self) -> None:
        HostModule.__init__(self)
        low, high = self.log_snr_range
        if self.bins < 1 or not low < high or not 0 <= self.decay < 1 or not 0 < self.explore <= 1:
            raise UserError(
                f"an adaptive law needs bins >= 1, a rising range, decay in [0, 1) and explore in (0, 1], not {self}"
            )
        self.register_buffer("total", torch.zeros(self.bins, dtype=torch.float64))
        self.register_buffer("mass", torch.zeros(self.bins, dtype=torch.float64))
        self.total: Tensor
        self.mass: Tensor

    def probs(self) -> Tensor:
        """Mean losses, normalised, and a little for all; bins without any loss yet have the average of the others."""
        even = torch.full((self.bins,), 1 / self.bins, dtype=torch.float64)
        known = self.mass > 0
        mean = self.total / self.mass
        if not known.any() or not 0 < mean[known].sum() < float("inf"):
            return even
        mean = torch.where(known, mean, mean[known].mean())
        return torch.lerp(mean / mean.sum(), even, self.explore)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Through the log-SNR, which falls as t rises."""
        low, high = self._range(schedule)
        return schedule.time(high - self._place(u) * (high - low))

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """p(log_snr) |d log_snr/dt|; 0 outside of the range."""
        low, high = self._range(schedule)
        log_snr = schedule.log_snr(t)
        inside = (log_snr >= low - 1e-6) & (log_snr <= high + 1e-6)
        per_log_snr = self.probs()[self._bin(self._fallen(log_snr, schedule))] * self.bins / (high - low)
        return torch.where(inside, per_log_snr * fall(schedule, t), 0.0)

    @torch.no_grad()
    def update(self, t: Tensor, loss: Tensor, schedule: Schedule) -> None:
        """Each bin's average moves towards its new losses, once for each."""
        bins = self._bin(self._fallen(schedule.log_snr(t), schedule))
        loss = loss.detach().cpu().double() * self.probs()[bins]
        hits = torch.bincount(bins, minlength=self.bins)
        keep = self.decay**hits
        mean = torch.bincount(bins, weights=loss, minlength=self.bins) / hits.clamp(min=1)
        self.total.mul_(keep).add_((1 - keep) * mean)
        self.mass.mul_(keep).add_(1 - keep)

    def _range(self, schedule: Schedule) -> tuple[float, float]:
        low, high = self.log_snr_range
        return max(low, schedule.at(1.0).log_snr), min(high, schedule.at(0.0).log_snr)

    def _fallen(self, log_snr: Tensor, schedule: Schedule) -> Tensor:
        low, high = self._range(schedule)
        return (high - log_snr) / (high - low)
