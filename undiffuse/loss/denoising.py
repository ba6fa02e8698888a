"""The one loss of diffusion: a distribution of t, a weight, a distance.

    L = E_{t, x_0, z} w(t) |y(x_t, t) - y|^2,           y = a x_0 + b z, what the network predicts

The error is computed on y itself: the weight is converted, exactly, to the terms of the prediction, which costs no pass
over the data. The same code trains Poisson flow, whose z is not Gaussian.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number, moved
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import target
from undiffuse.loss.loss import Loss
from undiffuse.loss.time import TimeDistribution, Uniform
from undiffuse.loss.weight import Simple, Weight


class Distance(ABC):
    """A function of the weighted mean squared error (batch,)."""

    @abstractmethod
    def __call__(self, squared: Tensor) -> Tensor:
        """(batch,) to (batch,)."""


@dataclass(frozen=True)
class Squared(Distance):
    """The squared error itself: its minimiser is the mean, E[x_0 | x_t]."""

    def __call__(self, squared: Tensor) -> Tensor:
        """Unchanged."""
        return squared


@dataclass(frozen=True)
class PseudoHuber(Distance):
    """Sqrt(e^2 + c^2) - c, e the root mean square error of a sample: linear for large errors.

    The minimiser is near a median, not the mean. Song and Dhariwal 2024 have c = .00054 sqrt(d) for the norm of an
    error of d numbers; for the root mean square that is .00054.
    """

    c: float = 0.00054

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise UserError(f"pseudo-Huber needs c > 0, not {self.c}")

    def __call__(self, squared: Tensor) -> Tensor:
        """Computed as e^2/(sqrt(e^2 + c^2) + c), without cancellation."""
        return squared / ((squared + self.c**2).sqrt() + self.c)


@dataclass(frozen=True)
class Denoising(Loss[Denoiser]):
    """The mean over entries of the weighted squared error, one t for each sample."""

    time: TimeDistribution = field(default_factory=Uniform)
    weight: Weight = field(default_factory=Simple)
    distance: Distance = field(default_factory=Squared)

    def check(self, denoiser: Denoiser) -> None:
        """Raises UserError where a variance is learned, which this would leave as it was drawn."""
        denoiser.require_mean_alone("denoising")

    def __call__(self, denoiser: Denoiser, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,) of x_0 (batch, *shape). In training mode it updates a distribution of t that learns."""
        schedule = denoiser.process.schedule
        t = self.time.sample(len(x_0), noise, schedule)
        error, _ = prediction_error(denoiser, x_0, t, noise, conditions)
        weight = cast(self.weight(denoiser.prediction, schedule, t), error)
        losses = self.distance(weight * mean(error**2)) * cast(self.weight.importance(self.time, schedule, t), error)
        if denoiser.training:
            self.time.update(t, losses, schedule)
        return losses


def prediction_error(
    denoiser: Denoiser, x_0: Tensor, t: Tensor, noise: Noise, conditions: Conditions | None
) -> tuple[Tensor, Tensor | None]:
    """(y_hat - y, v) at times (batch,): the error of the network's prediction; v of `Belief`, or None without a learned
    variance."""
    process = denoiser.process
    z = process.z.sample(x_0, noise)
    y, v = denoiser.output(process.mix(x_0, z, t), t, conditions)
    return y - target(denoiser.prediction, process.schedule, x_0, z, t), v


def mean(x: Tensor) -> Tensor:
    """Over everything but the batch: (batch, *shape) -> (batch,)."""
    return x.reshape(len(x), -1).mean(1)


def cast(number: Number, like: Tensor) -> Number:
    """A number, or (batch,) in the dtype and device of ``like``."""
    return moved(number, like.device, like.dtype) if isinstance(number, Tensor) else number
