"""Distributions of t that learn where the loss is large, and draw more times there.

The objective stays the same as under uniform times, or under a weight over log-SNR: each loss is divided by the density
of its t. Only the variance of the gradient falls. Both distributions are piecewise constant densities over bins, stored
as buffers, so that they are saved with the model. They read the losses on the CPU, once a step.
"""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.modules import HostModule, Learning
from undiffuse.loss.draws import Draws, Independent
from undiffuse.loss.time import TimeDistribution, log_snr_decay
from undiffuse.process.schedule import Schedule

TINY = 1e-6  # of a bin's width: how far from its lower edge a draw lies, at least


class Binned(TimeDistribution, Learning):
    """The description of a piecewise constant density over equal ``bins`` of [0, 1]; a subclass maps [0, 1] to times.

    A description has learned nothing: all bins have the same probability.
    """

    bins: int

    @abstractmethod
    def build(self) -> "Watching":
        """The distribution that learns."""

    @abstractmethod
    def quantile_of(self, probs: Tensor, u: Tensor, schedule: Schedule) -> Tensor:
        """`quantile`, given the probability of each bin (bins,)."""

    @abstractmethod
    def density_of(self, probs: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
        """`density`, given the probability of each bin (bins,)."""

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """With equal probabilities."""
        return self.quantile_of(self.even(), u, schedule)

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """With equal probabilities."""
        return self.density_of(self.even(), t, schedule)

    def importance(self, t: Tensor, schedule: Schedule) -> Tensor:
        """1/density: the objective is the same as with uniform times."""
        return 1 / self.density(t, schedule)

    def even(self) -> Tensor:
        """Equal probabilities, (bins,) float64."""
        return torch.full((self.bins,), 1 / self.bins, dtype=torch.float64)

    def place(self, probs: Tensor, u: Tensor) -> Tensor:
        """The point of [0, 1] at which the cumulative probability is u: the inverse of a piecewise linear function."""
        reached = probs.cumsum(0)
        bin = torch.searchsorted(reached, u * reached[-1])
        inside = (u * reached[-1] - (reached - probs)[bin]) / probs[bin]
        return (bin + inside.clamp(TINY, 1)) / self.bins

    def bin(self, place: Tensor) -> Tensor:
        """The bin of a point: bin i is (i/bins, (i + 1)/bins], up to rounding at the edges."""
        return (place * self.bins - 1e-9).ceil().long().clamp(1, self.bins) - 1


class Watching(TimeDistribution, HostModule):
    """A `Binned` distribution that learns the probabilities of its bins from the losses."""

    def __init__(self, design: Binned) -> None:
        HostModule.__init__(self)
        self.design, self.draws = design, design.draws

    @property
    def steps(self) -> int | None:
        """As in the description."""
        return self.design.steps

    @abstractmethod
    def probs(self) -> Tensor:
        """The probability of each bin, (bins,) float64, all positive."""

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """With the learned probabilities."""
        return self.design.quantile_of(self.probs(), u, schedule)

    def density(self, t: Tensor, schedule: Schedule) -> Tensor:
        """With the learned probabilities."""
        return self.design.density_of(self.probs(), t, schedule)

    def importance(self, t: Tensor, schedule: Schedule) -> Tensor:
        """1/density: the objective is the same as with uniform times."""
        return 1 / self.density(t, schedule)


@dataclass(frozen=True)
class Importance(Binned):
    """Improved DDPM's: p_i ~ sqrt(E[L_i^2]), which minimises the variance (Nichol and Dhariwal 2021, eq. 18).

    Uniform until every bin has ``history`` losses. A share ``explore`` of the draws stays uniform. With ``discrete``,
    times are those of the paper: t = i/T, T = ``bins``, 1000 there.
    """

    bins: int = 1000
    history: int = 10
    explore: float = 0.001
    discrete: bool = False
    draws: Draws = field(default_factory=Independent)

    def __post_init__(self) -> None:
        if self.bins < 1 or self.history < 1 or not 0 < self.explore <= 1:
            raise UserError(f"importance sampling needs bins >= 1, history >= 1 and explore in (0, 1], not {self}")

    def build(self) -> "LastLosses":
        """The module, before any loss."""
        return LastLosses(self)

    @property
    def steps(self) -> int | None:
        """T = ``bins``, if times are discrete."""
        return self.bins if self.discrete else None

    def quantile_of(self, probs: Tensor, u: Tensor, schedule: Schedule) -> Tensor:
        """By inversion; discrete times are the upper ends of their bins."""
        place = self.place(probs, u)
        return (self.bin(place) + 1).double() / self.bins if self.discrete else place

    def density_of(self, probs: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
        """The probability of t's bin, divided by the bin's width."""
        return probs[self.bin(t)] * self.bins


class LastLosses(Watching):
    """The module of `Importance`: each bin stores its last losses."""

    design: Importance
    losses: Tensor
    seen: Tensor

    def __init__(self, design: Importance) -> None:
        super().__init__(design)
        self.register_buffer("losses", torch.zeros(design.bins, design.history, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(design.bins, dtype=torch.int64))

    def probs(self) -> Tensor:
        """The root mean square of each bin's last losses, normalised and mixed with a share ``explore`` of uniform."""
        size = self.losses.square().mean(1).sqrt()
        if self.seen.min() < self.design.history or not 0 < size.sum() < float("inf"):
            return self.design.even()
        return torch.lerp(size / size.sum(), self.design.even(), self.design.explore)

    @torch.no_grad()
    def update(self, t: Tensor, loss: Tensor, schedule: Schedule) -> None:
        """Stores the losses without their importance weights: ``loss`` has been multiplied by 1/density."""
        loss = loss.detach().cpu().double() * self.density(t, schedule)
        bins, order = self.design.bin(t).sort(stable=True)
        hits = torch.bincount(bins, minlength=self.design.bins)
        rank = torch.arange(len(bins)) - (hits.cumsum(0) - hits)[bins]  # its rank among the new losses of its bin
        last = rank >= hits[bins] - self.design.history  # only these: the others would be overwritten at once
        slot = (self.seen[bins] + rank) % self.design.history
        self.losses[bins[last], slot[last]] = loss[order][last]
        self.seen += hits


@dataclass(frozen=True)
class Adaptive(Binned):
    """Kingma and Gao's: p(log_snr) ~ E[w |error|^2 at log_snr], so that weighted losses are alike (2023, appendix F).

    The expectation is a moving average in each of ``bins`` of log-SNR over ``log_snr_range`` (within the schedule's
    own range); each new loss has the weight ``1 - decay`` in it. A share ``explore`` of the draws is uniform in
    log-SNR. Nothing is drawn outside the range: the objective ends there.
    """

    bins: int = 100
    log_snr_range: tuple[float, float] = (-20.0, 20.0)
    decay: float = 0.99
    explore: float = 0.01
    draws: Draws = field(default_factory=Independent)

    def __post_init__(self) -> None:
        low, high = self.log_snr_range
        if self.bins < 1 or not low < high or not 0 <= self.decay < 1 or not 0 < self.explore <= 1:
            raise UserError(
                "an adaptive distribution of t needs bins >= 1, a rising range, decay in [0, 1) and explore in (0, 1], "
                f"not {self}"
            )

    def build(self) -> "MeanLosses":
        """The module, before any loss."""
        return MeanLosses(self)

    def quantile_of(self, probs: Tensor, u: Tensor, schedule: Schedule) -> Tensor:
        """By inversion in log-SNR, which falls as t rises."""
        low, high = self._range(schedule)
        return schedule.time(high - self.place(probs, u) * (high - low))

    def density_of(self, probs: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
        """p(log_snr) |d log_snr/dt|; 0 outside the range."""
        low, high = self._range(schedule)
        log_snr = schedule.log_snr(t)
        inside = (log_snr >= low - 1e-6) & (log_snr <= high + 1e-6)
        per_log_snr = probs[self.bin_of(log_snr, schedule)] * self.bins / (high - low)
        return torch.where(inside, per_log_snr * log_snr_decay(schedule, t), 0.0)

    def bin_of(self, log_snr: Tensor, schedule: Schedule) -> Tensor:
        """The bin of a log-SNR."""
        low, high = self._range(schedule)
        return self.bin((high - log_snr) / (high - low))

    def _range(self, schedule: Schedule) -> tuple[float, float]:
        low, high = self.log_snr_range
        return max(low, schedule.at(1.0).log_snr), min(high, schedule.at(0.0).log_snr)


class MeanLosses(Watching):
    """The module of `Adaptive`: each bin has a moving average of its losses."""

    design: Adaptive
    total: Tensor
    mass: Tensor

    def __init__(self, design: Adaptive) -> None:
        super().__init__(design)
        self.register_buffer("total", torch.zeros(design.bins, dtype=torch.float64))
        self.register_buffer("mass", torch.zeros(design.bins, dtype=torch.float64))

    def probs(self) -> Tensor:
        """Mean losses, normalised and mixed with a share ``explore`` of uniform.

        A bin without losses has the mean of the others.
        """
        known = self.mass > 0
        mean = self.total / self.mass
        if not known.any() or not 0 < mean[known].sum() < float("inf"):
            return self.design.even()
        mean = torch.where(known, mean, mean[known].mean())
        return torch.lerp(mean / mean.sum(), self.design.even(), self.design.explore)

    @torch.no_grad()
    def update(self, t: Tensor, loss: Tensor, schedule: Schedule) -> None:
        """Moves each bin's average towards its new losses, once for each loss."""
        bins = self.design.bin_of(schedule.log_snr(t), schedule)
        loss = loss.detach().cpu().double() * self.probs()[bins]
        hits = torch.bincount(bins, minlength=self.design.bins)
        keep = self.design.decay**hits
        mean = torch.bincount(bins, weights=loss, minlength=self.design.bins) / hits.clamp(min=1)
        self.total.mul_(keep).add_((1 - keep) * mean)
        self.mass.mul_(keep).add_(1 - keep)
