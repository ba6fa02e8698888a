"""Schedules made from schedules: shifted to more noise for larger pictures, or rescaled to zero terminal SNR."""

import math
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from undiffuse.process.curves import Flow
from undiffuse.process.schedule import Schedule, VariancePreserving


@dataclass(frozen=True)
class Shifted(Schedule):
    """A schedule with its noise scaled: log_snr'(t) = log_snr(t) - 2 log(shift).

    This gives larger pictures more noise at the same time (Hoogeboom et al. 2023, eq. 3, shift = size/64). For `Flow`
    it is the time shift t' = shift t/(1 + (shift - 1) t) of Esser et al. 2024, eq. 23.
    """

    base: Schedule
    shift: float = 3.0

    def log_snr(self, t: Tensor) -> Tensor:
        """The base's, less 2 log(shift)."""
        return self.base.log_snr(t) - 2 * math.log(self.shift)

    def time(self, log_snr: Tensor) -> Tensor:
        """The base's inverse at log_snr + 2 log(shift)."""
        return self.base.time(log_snr + 2 * math.log(self.shift))

    def scale(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """The base's family."""
        return self.base.scale(log_snr)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """For `Flow`, by its own formula, which is smooth at t = 1, where log_snr and its derivative are infinite."""
        if isinstance(self.base, Flow):
            return self.base(self.shift * t / (1 + (self.shift - 1) * t))
        return super().__call__(t)

    @property
    def steps(self) -> int | None:
        """The base's."""
        return self.base.steps


@dataclass(frozen=True)
class ZeroTerminal(VariancePreserving):
    """A variance preserving schedule rescaled so that alpha = 0 at t = 1.

    alpha'(t) = (alpha(t) - alpha(1))/(1 - alpha(1)): Lin et al. 2023, algorithm 1, in continuous time (for tables,
    `process.table.ZeroTerminalTable`). At t = 1 eps does not determine x_0: train v, x0 or velocity.
    """

    base: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.base, VariancePreserving):
            raise ValueError(f"zero-terminal SNR rescales variance preserving schedules, not {self.base}; try Cosine()")

    def log_snr(self, t: Tensor) -> Tensor:
        """Log alpha'^2 - log (1 - alpha'^2)."""
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    def time(self, log_snr: Tensor) -> Tensor:
        """The base's time for the alpha before rescaling."""
        alpha, sigma = self.scale(log_snr)
        base_alpha = self._last + alpha * (1 - self._last)
        missing = sigma**2 / (1 + alpha) * (1 - self._last)  # 1 - base_alpha, without cancellation
        return self.base.time(2 * base_alpha.log() - (missing * (1 + base_alpha)).log())

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha', sqrt(1 - alpha'^2)), through 1 - alpha = sigma^2/(1 + alpha)."""
        alpha, sigma = self.base(t)
        scaled = (alpha - self._last) / (1 - self._last)
        missing = sigma**2 / (1 + alpha) / (1 - self._last)  # 1 - scaled
        return scaled, (missing * (1 + scaled)).sqrt()

    @cached_property
    def _last(self) -> float:
        return float(self.base.at(1.0).alpha)
