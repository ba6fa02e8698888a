"""How to sample, as one plain value: the sampler, the number of steps, the grid, the guidance and the seed.

    run.sample(64, {"label": "3"}, Sampling(steps=20, guidance=Guidance(3.0, negative="8")))

A recipe holds one as its default; everything that samples takes one, and what the user asks for overrides the default.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from undiffuse.core.errors import UserError, check_seed

DEFAULT_WEIGHT = 2.0  # the default weight when guidance is asked for: for a classifier it is Bayes' rule


@dataclass(frozen=True)
class Guidance:
    """Guided away from the unconditional model, or from a ``negative`` condition.

    Attributes:
        weight: The guidance scale w of weak + w (strong - weak); 1 is off. None is off too, except that it is 2 if a
            negative condition or another run asks for guidance.
        negative: What to steer away from, in words: "8", or "digit=8,colour=red"; a condition that it leaves out stays
            as it was asked for.
        negative_text: The same, of a model that was trained on captions: any words, commas too.
        parts: Texts to be guided to together, with the weight of each, in place of the text that is asked for; weights
            that sum to 1 lie between the texts.
        rescale: In [0, 1]: pulls each sample's spread back to the unguided one's (see `denoiser.guidance`).
        interval: Guided only between these noise levels, sigma/alpha in standard deviations of the data.
        threshold: Keep pictures within black and white: ``"static"`` clips, ``"dynamic"`` scales.

    Raises:
        UserError: A value out of range.
    """

    weight: float | None = None
    negative: str | None = None
    negative_text: str | None = None
    parts: tuple[tuple[str, float], ...] = ()
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, math.inf)
    threshold: Literal["static", "dynamic"] | None = None

    def __post_init__(self) -> None:
        low, high = self.interval
        if self.weight is not None and not math.isfinite(self.weight):
            raise UserError(f"guidance must be a finite number, not {self.weight}")
        if not all(math.isfinite(weight) for _, weight in self.parts):
            raise UserError("the weight of each part of a text must be a finite number")
        if not 0 <= self.rescale <= 1:
            raise UserError(f"rescale must be from 0 to 1, not {self.rescale}")
        if not 0 <= low < high:
            raise UserError(f"the interval of guidance is two noise levels, the lower first, not {low:g},{high:g}")
        object.__setattr__(self, "negative", _words(self.negative))

    @property
    def steered(self) -> bool:
        """Whether it says what to steer away from."""
        return self.negative is not None or self.negative_text is not None

    def over(self, default: "Guidance") -> "Guidance":
        """This, with the default's weight if it has none of its own and the default guides."""
        return replace(self, weight=default.weight) if self.weight is None and default.weight != 1 else self


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    Attributes:
        sampler: By name; see `undiffuse.sampling.samplers`.
        steps: How many; None is one for every token or number.
        grid: Which times to visit, by name; None is the sampler's own.
        guidance: How strongly conditions are followed.
        seed: Sample i is a function of the seed and i.
        low_noise: The noise level at which a low-resolution picture is given; see `undiffuse.condition.low`.
    """

    sampler: str = "ddim"
    steps: int | None = 20
    grid: str | None = None
    guidance: Guidance = field(default_factory=Guidance)
    seed: int = 0
    low_noise: float = 0.0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 <= self.low_noise <= 1:
            raise UserError(f"low noise, a share, must be from 0 to 1, not {self.low_noise:g}")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps must be at least 1, not {self.steps}")

    def override(
        self,
        sampler: str | None = None,
        steps: int | None = None,
        grid: str | None = None,
        guidance: float | Guidance | None = None,
        seed: int | None = None,
        low_noise: float | None = None,
    ) -> Self:
        """The same, with every argument that is not None replaced; a number as guidance is its weight."""
        given: dict[str, Any] = {"sampler": sampler, "steps": steps, "grid": grid, "seed": seed, "low_noise": low_noise}
        if isinstance(guidance, Guidance):
            given["guidance"] = guidance.over(self.guidance)
        elif guidance is not None:
            given["guidance"] = replace(self.guidance, weight=guidance)
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def _words(condition: object) -> str | None:
    """A condition as words, from any of its forms in Python: 8, "8", {"digit": 8}."""
    if condition is None or isinstance(condition, str):
        return condition
    if isinstance(condition, Mapping):
        return ",".join(f"{name}={_words(value)}" for name, value in condition.items())
    if isinstance(condition, Sequence):
        return ",".join(str(_words(value)) for value in condition)
    return str(condition)
