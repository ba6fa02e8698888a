"""Guidance: a denoiser in, a denoiser out, so that guides compose and every sampler takes them.

    denoise = ClassifierFree(denoiser, weight=3.0)          denoise(x_t, t, conditions)
    denoise = Interval(denoise, schedule, low=-4.0, high=4.0)
    denoise = DynamicThreshold(denoise)

One convention: with weight w the guided mean is ``weak + w (strong - weak)``. Weight 1 is off and gives what the
denoiser gives, bit for bit; 0 is the weaker side; above 1 exaggerates. Papers that write (1 + w) strong - w weak
(Ho and Salimans 2021; "off" is 0) mean our weight - 1.

The formulas are for E[x_0 | x_t]. Eps, v and the score are linear in it with the same coefficients on both sides, so
guiding any of them is the same. A guided field is *not* the score of any diffused density: at each t separately, it is
the gradient of log q_t(x_t) + (w - 1) log p_t(y | x_t).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.last import Last
from undiffuse.core.linear import Number, expand
from undiffuse.process import Schedule
from undiffuse.process.affine import Belief

# denoise(x_t, t, conditions) -> E[x_0 | x_t, conditions], as a tensor, a `Belief`, or logits
Conditional = Callable[..., Any]


@dataclass(frozen=True)
class ClassifierFree:
    """Away from what the data looks like without conditions, or with ``negative`` ones (Ho and Salimans 2021).

    ``negative`` is a batch of one row, whose entries take the place of those that are asked for; the others are kept.
    Both answers come from one evaluation of twice the batch. ``rescale`` in [0, 1] pulls the guided mean's standard
    deviation, sample by sample, back to that of the conditional mean (Lin et al. 2023, eqs. 14-16, stated there for v).
    ``weight`` is one for all, or one a row, (batch,).
    """

    denoise: Conditional
    weight: Number
    negative: Conditions | None = None
    rescale: float = 0.0
    _both: Last[Conditions] = field(default_factory=Last, init=False, repr=False, compare=False)

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """Weak + w (strong - weak); without conditions, there is nothing to guide by. x_t (batch, *shape)."""
        if conditions is None or (isinstance(self.weight, float) and self.weight == 1.0):
            return self.denoise(x_t, t, conditions)
        twice = torch.cat([t, t]) if isinstance(t, Tensor) and t.ndim else t
        both = self._both.about((conditions,), lambda: Conditions.cat([conditions, _weaker(conditions, self.negative)]))
        answer = self.denoise(torch.cat([x_t, x_t]), twice, both)
        strong, weak = (_part(answer, half, 2) for half in (0, 1))
        return on_mean(strong, lambda mean: self._guided(mean, _mean(weak)))

    def _guided(self, strong: Tensor, weak: Tensor) -> Tensor:
        guided = torch.lerp(weak, strong, expand(self.weight, strong))
        if self.rescale == 0.0:
            return guided
        ratio = strong.flatten(1).std(1) / guided.flatten(1).std(1)
        return guided * (1 - self.rescale + self.rescale * ratio).view(-1, *[1] * (guided.ndim - 1))


@dataclass(frozen=True)
class Composed:
    """Towards several conditions at once: weak + w sum_k p_k (strong_k - weak) (Liu et al. 2022, equation 11).

    ``parts`` are batches of one row, whose entries take the place of those that are asked for, and the weight p_k of
    each. Weights that sum to 1, with w = 1, lie between the conditions: then ``weak`` does not matter.
    """

    denoise: Conditional
    parts: tuple[tuple[Conditions, float], ...]
    weight: float
    negative: Conditions | None = None
    _every: Last[Conditions] = field(default_factory=Last, init=False, repr=False, compare=False)

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """All answers come from one evaluation of so many times the batch. x_t (batch, *shape)."""
        if conditions is None:
            return self.denoise(x_t, t, conditions)
        count = len(self.parts) + 1
        times = t.repeat(count) if isinstance(t, Tensor) and t.ndim else t
        every = self._every.about((conditions,), lambda: self._rows(conditions))
        answer = self.denoise(x_t.repeat(count, *[1] * (x_t.ndim - 1)), times, every)
        *strong, weak = _mean(answer).chunk(count)
        moved = weak + self.weight * sum(p * (mean - weak) for (_, p), mean in zip(self.parts, strong, strict=True))
        return on_mean(_part(answer, 0, count), lambda _: moved)

    def _rows(self, conditions: Conditions) -> Conditions:
        parts = [conditions.replaced(part) for part, _ in self.parts]
        return Conditions.cat([*parts, _weaker(conditions, self.negative)])


@dataclass(frozen=True)
class AutoGuidance:
    """Away from a ``worse`` denoiser of the same data: smaller, or trained for less (Karras et al. 2024)."""

    denoise: Conditional
    worse: Conditional
    weight: float

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """worse + w (denoise - worse)."""
        answer = self.denoise(x_t, t, conditions)
        if self.weight == 1.0:
            return answer
        weak = _mean(self.worse(x_t, t, conditions))
        return on_mean(answer, lambda strong: weak.lerp(strong, self.weight))


@dataclass(frozen=True)
class Classifier:
    """Along the gradient of a noise-aware classifier (Dhariwal and Nichol 2021); their scale is our weight - 1.

    It moves towards q_t(x_t) p_t(y | x_t)^(w-1): for an unconditional denoiser, weight 2 is Bayes' rule.
    """

    denoise: Conditional
    log_prob: Callable[..., Tensor]  # (x_t, t, conditions) -> log p_t(y | x_t), (batch,), differentiable in x_t
    schedule: Schedule
    weight: float

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """E[x_0 | x_t] + (w - 1) sigma^2/alpha grad log p_t(y | x_t)."""
        answer = self.denoise(x_t, t, conditions)
        if self.weight == 1.0:
            return answer
        alpha, sigma, _ = self.schedule.at(t)
        if isinstance(alpha, float) and alpha == 0:  # nothing of the data is left to classify
            return answer
        step = expand((self.weight - 1) * sigma**2 / alpha, x_t)
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x, t, conditions).sum(), x)
        return on_mean(answer, lambda mean: mean + step * gradient)


class Guide(Protocol):
    """A guided denoiser with access to the denoiser that it guides."""

    @property
    def denoise(self) -> Conditional:
        """Without this guidance."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """With it."""
        ...


@dataclass(frozen=True)
class Interval:
    """Guidance only while ``low`` <= log-SNR <= ``high``, its own denoiser elsewhere (Kynkaanniemi et al. 2024).

    Their interval of noise levels sigma is log_snr = -2 log(sigma), with the ends swapped.
    """

    guide: Guide
    schedule: Schedule
    low: float = -math.inf
    high: float = math.inf

    @property
    def denoise(self) -> Conditional:
        """The unguided denoiser."""
        return self.guide.denoise

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """Guided inside, plain outside; row by row where each has a time t (batch,) of its own."""
        level = self.schedule.at(t).log_snr
        if isinstance(level, Tensor):
            inside = ((self.low <= level) & (level <= self.high)).to(x_t.device)
            guided, plain = self.guide(x_t, t, conditions), self.guide.denoise(x_t, t, conditions)
            return torch.where(inside.view(-1, *[1] * (guided.ndim - 1)), guided, plain)
        return (self.guide if self.low <= level <= self.high else self.guide.denoise)(x_t, t, conditions)


Limit = float | Tensor  # broadcasts to (batch, *shape)


@dataclass(frozen=True)
class StaticThreshold:
    """The mean clipped to [low, high], where data is known to lie; infinite limits change nothing."""

    denoise: Conditional
    low: Limit = -1.0
    high: Limit = 1.0

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """Clip(x_0)."""
        answer = self.denoise(x_t, t, conditions)
        return on_mean(answer, lambda mean: _clipped(mean, self.low, self.high))


@dataclass(frozen=True)
class DynamicThreshold:
    """Imagen's: the mean clipped at its own ``quantile`` of |x_0|, and scaled back into [low, high].

    |x_0| is the distance from the middle, in units in which ``low`` and ``high`` have distance 1. It acts sample
    by sample, and only if that quantile exceeds 1 (Saharia et al. 2022, section 2.3).
    """

    denoise: Conditional
    quantile: float = 0.995
    low: Limit = -1.0
    high: Limit = 1.0

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """Clip(x_0, -s, s)/s, s = max(1, quantile), in those units."""
        return on_mean(self.denoise(x_t, t, conditions), self._scaled)

    def _scaled(self, mean: Tensor) -> Tensor:
        middle, reach = (_like(mean, limit) for limit in ((self.low + self.high) / 2, (self.high - self.low) / 2))
        u = (mean - middle) / reach
        size = u.flatten(1).abs()
        s = size.kthvalue(max(1, math.ceil(self.quantile * size.shape[1])), dim=1).values
        s = s.view(-1, *[1] * (mean.ndim - 1))
        return torch.where(s > 1, middle + u.clamp(-s, s) * (reach / s), _clipped(mean, self.low, self.high))


def _weaker(conditions: Conditions, negative: Conditions | None) -> Conditions:
    """What guidance steers away from: no conditions, or with the negative ones in place of their own."""
    return conditions.without() if negative is None else conditions.replaced(negative)


def _clipped(mean: Tensor, low: Limit, high: Limit) -> Tensor:
    return mean.clamp(_like(mean, low), _like(mean, high))


def _like(mean: Tensor, limit: Limit) -> Tensor:
    return limit.to(mean) if isinstance(limit, Tensor) else mean.new_full((), limit)


def _mean(answer: Any) -> Tensor:
    return answer.mean if isinstance(answer, Belief) else answer


def on_mean(answer: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same belief with another mean: a learned variance is kept."""
    return answer._replace(mean=change(answer.mean)) if isinstance(answer, Belief) else change(answer)


def _part(answer: Any, part: int, of: int) -> Any:
    """One of several equal parts of an answer's batch."""
    if not isinstance(answer, Belief):
        return answer.chunk(of)[part]
    v = answer.v.chunk(of)[part] if isinstance(answer.v, Tensor) and answer.v.ndim else answer.v
    return Belief(answer.mean.chunk(of)[part], v)
