"""Where drawing starts: pure noise, data that was noised part of the way, or noise that was kept.

    run.sample(8, label="3", start=Noised(x, strength=0.6))

Data x noised to the level of its ``strength`` and sampled from there keeps what that noise does not hide: of a picture
its large forms, the more of them the lower the strength (Meng et al. 2022, SDEdit, algorithm 1). Sampling from time t
on needs no training, because the state at t is one that the denoiser was trained on. Strength is the share of noise,
sigma/(alpha + sigma), so it means the same on every schedule and grid; 1 is sampling as it always is.

For data N(m, C), an ODE sampler turns x into draws of N(m + g (x - m), h) along each axis of C, of variance l, with
g = alpha sqrt(l/(alpha^2 l + sigma^2)) and h = sigma^2 l/(alpha^2 l + sigma^2): what was drawn is a mixture of the
picture and the data's own mean, and the variance that is missing from l is what the picture fixes.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from undiffuse.codec import Codec
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.process import Process
from undiffuse.process.pinned import StoredRows
from undiffuse.sampling.grid import cut
from undiffuse.step import Step
from undiffuse.step.bdia import BDIA, Earlier, FromPair
from undiffuse.step.ddim import DDIM

LEAST = 1e-6  # the earliest time that a trajectory starts from


class FirstState(Protocol):
    """Where drawing starts."""

    def take(self, rows: range) -> Self:
        """What the samples numbered ``rows`` start from."""
        ...

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """The times of a grid that are left to visit."""
        ...

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """The first state x_t, in the shape of ``like`` (batch, *latent_shape) and on its device."""
        ...

    def step(self, step: Step, like: Tensor) -> Step:
        """How steps are taken from there, of a sampler that takes this one."""
        ...


class _AnyStep:
    """From where every sampler goes on as it does."""

    def step(self, step: Step, like: Tensor) -> Step:
        """The sampler's own."""
        return step


@dataclass(frozen=True)
class PureNoise(_AnyStep):
    """Noise of the process: nothing but the condition is asked of the sample."""

    def take(self, rows: range) -> Self:
        """The same for all."""
        return self

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """All of them."""
        return times

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """A draw of what the process ends in."""
        return process.start(like, noise, t)


PURE_NOISE = PureNoise()


@dataclass(frozen=True)
class OfLabels(_AnyStep):
    """Rows that a bridge keeps to start from, of the labels that the samples are to have.

    Attributes:
        rows: What the bridge keeps.
        labels: (batch,), negative where any will do.
    """

    rows: StoredRows
    labels: Tensor

    def take(self, rows: range) -> "OfLabels":
        """Their labels."""
        return replace(self, labels=_in_turn(self.labels, rows))

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """All of them."""
        return times

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """A draw of the rows."""
        return self.rows.sample(like, noise, self.labels)


@dataclass(frozen=True)
class Noised(_AnyStep):
    """Data to start from, noised to ``strength``; sample i starts from row i modulo their count.

    Attributes:
        x: (rows, *shape), as the data is stored.
        strength: The share of noise, above 0; 1 uses nothing of x.
    """

    x: Tensor
    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise UserError(
                f"strength is above 0 (the picture itself) and at most 1 (all noise), not {self.strength:g}"
            )

    def take(self, rows: range) -> "Noised":
        """Their rows."""
        return replace(self, x=_in_turn(self.x, rows))

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """From the time of the strength; from the first if that is earlier."""
        if self.strength == 1:
            return times
        return cut(times, min(times[0], max(LEAST, process.time(self.strength))))

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_0)."""
        if self.strength == 1:
            return process.start(like, noise, t)
        return process.corrupt(codec.encode(self.x.to(like.device), noise), t, noise)


@dataclass(frozen=True)
class Kept(_AnyStep):
    """States that were kept, such as the noise that makes a picture (`undiffuse.run.invert`).

    Attributes:
        x: (rows, *latent_shape).
        t: Their time.
    """

    x: Tensor
    t: float

    def take(self, rows: range) -> "Kept":
        """Their rows."""
        return replace(self, x=_in_turn(self.x, rows))

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """From their time on."""
        return cut(times, self.t)

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """They themselves. Raises UserError if they are of another shape."""
        if self.x.shape != like.shape:
            of, wanted = (" x ".join(map(str, shape)) for shape in (self.x.shape[1:], like.shape[1:]))
            raise UserError(f"this noise is of shape {of}, and what diffuses in this run of {wanted}")
        return self.x.to(like)


@dataclass(frozen=True)
class KeptPair:
    """Two states that were kept, from which DDIM's step, corrected, comes back exactly (`undiffuse.step.bdia`).

    Attributes:
        later: The nearer to the data, where drawing starts.
        before: The other one.
    """

    later: Kept
    before: Kept

    @property
    def x(self) -> Tensor:
        """Of the later one."""
        return self.later.x

    def take(self, rows: range) -> "KeptPair":
        """Their rows."""
        return KeptPair(self.later.take(rows), self.before.take(rows))

    def times(self, process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
        """From the time of the later one on. Raises UserError for a grid of other times."""
        if self.before.t not in times or self.later.t not in times:
            raise UserError("noise of an exact inversion is sampled in the steps of that: --steps and --grid as there")
        return self.later.times(process, times)

    def state(self, process: Process, codec: Codec, like: Tensor, t: float, noise: Noise) -> Tensor:
        """The later one. Raises UserError if they are of another shape."""
        return self.later.state(process, codec, like, t, noise)

    def step(self, step: Step, like: Tensor) -> Step:
        """BDIA's, in place of DDIM's. Raises UserError for another sampler."""
        if not isinstance(step, DDIM):
            raise UserError("noise of an exact inversion is sampled by ddim, corrected: --sampler ddim")
        return FromPair(BDIA(step.process), Earlier(self.before.x.to(like), self.before.t))


def _in_turn(x: Tensor, rows: range) -> Tensor:
    return x[torch.arange(rows.start, rows.stop) % len(x)]
