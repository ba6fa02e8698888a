"""How a run is guided: its denoiser, guided away from what, how strongly, at which noise levels, within which limits.

    run.sample(64, label="3", guidance=3.0)
    run.sample(64, label="3", guidance=Guidance(3.0, negative="8", interval=(0.2, 5.0), threshold="dynamic"))
    run.guided_by(classifier=load("runs/classifier")).sample(64, label="3")

`undiffuse.denoiser.guidance` holds the guides themselves, which can also be composed in other ways.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from undiffuse.codec import Codec
from undiffuse.condition import scale
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.low import pictures_with_noise
from undiffuse.condition.read import name_of_text, read_negative, with_label, words
from undiffuse.condition.scale import NAME, taken
from undiffuse.condition.specification import Numbers, Specifications
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.denoiser.bridge import BridgeDenoiser
from undiffuse.denoiser.classifier import ConditionClassifier
from undiffuse.denoiser.guidance import (
    AutoGuidance,
    Classifier,
    ClassifierFree,
    Composed,
    Conditional,
    DynamicThreshold,
    Guide,
    Interval,
    StaticThreshold,
)
from undiffuse.recipe.recipe import Recipe
from undiffuse.sampling.sampling import DEFAULT_WEIGHT, Guidance


class Guided(Protocol):
    """What guidance asks of a run."""

    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def recipe(self) -> Recipe: ...  # noqa: D102
    @property
    def denoiser(self) -> Any: ...  # noqa: D102
    @property
    def codec(self) -> Codec: ...  # noqa: D102
    @property
    def codec_facts(self) -> str | None: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def device(self) -> torch.device: ...  # noqa: D102
    @property
    def specifications(self) -> Specifications: ...  # noqa: D102
    @property
    def is_few_step(self) -> bool: ...  # noqa: D102
    @property
    def scales(self) -> Numbers | None: ...  # noqa: D102
    @property
    def is_of_tokens(self) -> bool: ...  # noqa: D102
    @property
    def is_joint(self) -> bool: ...  # noqa: D102
    @property
    def is_classifier(self) -> bool: ...  # noqa: D102
    @property
    def classifier(self) -> "Guided | None": ...  # noqa: D102
    @property
    def worse(self) -> "Guided | None": ...  # noqa: D102


def guided(denoise: Conditional, run: Guided, guidance: Guidance) -> Conditional:
    """The guided denoiser; ``denoise`` itself where there is nothing to do.

    Raises UserError if this run cannot be guided in this way.
    """
    if run.is_few_step:
        return _distilled(denoise, run, guidance)
    if (run.classifier or run.worse) and (guidance.steered or guidance.rescale):
        raise UserError("a negative and rescale are for guidance by conditions; leave out the other run")
    if run.is_of_tokens and (run.classifier or guidance.rescale or guidance.threshold):
        raise UserError("tokens are guided by conditions or by a worse run: no classifier, rescale or threshold")
    unguided = run.specifications and not run.denoiser.process.guidable
    if unguided and (guidance.threshold or weight_for(run, guidance) != 1):
        what = "a picture that is drawn with its label" if run.is_joint else "a row of a table"
        raise UserError(f"{what} is not guided: leave the options of guidance out")
    found = _within_interval(denoise, run, guidance)
    if guidance.threshold is None:
        return found
    threshold = {"static": StaticThreshold, "dynamic": DynamicThreshold}[guidance.threshold]
    low, high = _limits(run)
    return threshold(found, low=low, high=high)


def weight_for(run: Guided, guidance: Guidance) -> float:
    """The guidance scale: 1 (off) if nothing asks for guidance, or if the run was not trained for it."""
    guided = run.classifier or run.worse or guidance.steered
    if guidance.weight is None:
        return DEFAULT_WEIGHT if guided else 1.0
    return guidance.weight


def teaching(denoise: Conditional, run: Guided, guidance: Guidance, scales: tuple[float, ...]) -> Conditional:
    """A run's denoiser as a teacher's: guided by its default, by one scale, or by the scale that each row asks for.

    Raises UserError if this run cannot be guided so.
    """
    if len(scales) < 2:
        return guided(denoise, run, replace(guidance, weight=scales[0]) if scales else guidance)
    if NAME in run.specifications:
        raise UserError(f"the data has a condition {NAME!r} of its own; distill one scale, --guidance 2")
    if guidance != Guidance(guidance.weight, rescale=guidance.rescale):
        raise UserError("a range of guidance has no negative, interval or threshold; distill one scale, --guidance 2")
    _negative(run, guidance)  # whether it can be guided at all
    return _AsAsked(denoise, scale.scales(*scales), weight_for(run, guidance), guidance.rescale)


def _distilled(denoise: Conditional, run: Guided, guidance: Guidance) -> Conditional:
    """A model of few steps, which learned what guidance there is: asked for a scale, where it knows a range."""
    own = Guidance(guidance.weight)
    if run.classifier or run.worse or guidance != own:
        raise UserError("a model of few steps is guided by nothing but the scale that it was distilled with")
    weight = None if guidance.weight == 1 and run.scales is None else guidance.weight
    if weight is None:
        return denoise if run.specifications else _Unconditional(denoise)
    if run.scales is None:
        raise UserError(
            "a model of few steps keeps the guidance that it was distilled with; leave --guidance out, or distill a "
            "range to choose from: undiffuse distill RUN --guidance 1,4"
        )
    value = run.scales.read(weight, NAME)[None].to(run.device)
    return _AtScale(denoise, Conditions({NAME: Entry(value, torch.ones(1, dtype=torch.bool, device=run.device))}))


def _within_interval(denoise: Conditional, run: Guided, guidance: Guidance) -> Conditional:
    schedule, weight = run.denoiser.process.schedule, weight_for(run, guidance)
    told_start = isinstance(run.denoiser, BridgeDenoiser) and run.denoiser.told_start
    if not (run.specifications or told_start):
        denoise = _Unconditional(denoise)
    if weight == 1 and not guidance.parts:
        return denoise
    guide: Guide
    if run.classifier:
        guide = Classifier(denoise, _LogProb(run.classifier.denoiser), schedule, weight)
    elif run.worse:
        guide = AutoGuidance(
            denoise, run.worse.denoiser if run.specifications else _Unconditional(run.worse.denoiser), weight
        )
    elif guidance.parts:
        parts = tuple((_text(run, said, "text"), each) for said, each in guidance.parts)
        guide = Composed(denoise, parts, weight, _negative(run, guidance))
    else:
        guide = ClassifierFree(denoise, weight, _negative(run, guidance), guidance.rescale)
    low, high = guidance.interval
    if (low, high) == (0.0, math.inf):
        return guide
    return Interval(guide, schedule, -2 * math.log(high), -2 * math.log(low) if low else math.inf)


def _negative(run: Guided, guidance: Guidance) -> Conditions | None:
    specifications = run.specifications
    kept = pictures_with_noise(specifications)
    if not specifications.keys() - kept:
        raise UserError("guidance needs labels, and this model was trained without; leave --guidance out")
    negated: Any = None if guidance.negative is None else words(guidance.negative)
    if isinstance(negated, list):
        negated = next(iter(with_label(specifications, None, negated if len(negated) > 1 else negated[0])))
    negative = read_negative(specifications, negated)
    if guidance.negative_text is not None:
        further = _text(run, guidance.negative_text, "negative text")
        negative = Conditions({**(negative.entries if negative else {}), **further.entries})
    absent = [not bool(entry.present) for entry in negative.entries.values()] if negative else [True]
    everything = negative is None or len(absent) == len(specifications) - len(kept)
    if all(absent) and everything and run.recipe.training.condition_dropout == 0:
        raise UserError("guidance needs a model trained with --label-dropout above 0; leave --guidance out")
    if any(absent) and not (all(absent) and everything) and run.recipe.training.each_dropout == 0:
        raise UserError("a negative attribute of none needs a model trained with --attribute-dropout above 0")
    if negative is None and kept:  # what is enlarged is not guided away from
        negative = read_negative(specifications, dict.fromkeys(specifications.keys() - kept, "none"))
    return negative if negative is None else negative.to(run.device)


def _text(run: Guided, said: str, what: str) -> Conditions:
    """A text as a batch of one row, with nothing else. Raises UserError for a run that knows no words."""
    name = name_of_text(run.specifications, what)
    found = read_negative(run.specifications, {name: said})
    assert found is not None
    return found.to(run.device)


def check_guides(run: Guided) -> None:
    """Raises UserError if another run that should guide this one cannot do so."""
    if run.classifier and run.worse:
        raise UserError("guide by a classifier or by a worse run, not by both")
    if run.classifier:
        _check_classifier(run.classifier, run)
    if run.worse:
        if run.worse.is_few_step:
            raise UserError(f"{run.worse.folder} is a model of few steps, which guides no other")
        _check_alike(run.worse, run, "the worse run")


@dataclass(frozen=True)
class _Unconditional:
    """A denoiser that ignores the conditions that it is given."""

    denoise: Conditional

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None, **hints: Tensor | float) -> Any:
        return self.denoise(x_t, t, **hints)


@dataclass(frozen=True)
class _AsAsked:
    """Guided without a classifier, each row by the scale that it asks for."""

    denoise: Conditional
    scales: Numbers
    default: float
    rescale: float

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions) -> Any:
        weight, others = taken(conditions, self.scales, self.default)
        return ClassifierFree(self.denoise, weight, rescale=self.rescale)(x_t, t, others)


@dataclass(frozen=True)
class _AtScale:
    """A denoiser whose every row asks for one guidance scale."""

    denoise: Conditional
    scale: Conditions

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions, **hints: Tensor | float) -> Any:
        return self.denoise(x_t, t, conditions.replaced(self.scale), **hints)


@dataclass(frozen=True)
class _LogProb:
    """log p_t(conditions | x_t) of a trained classifier; 0 where no condition is present."""

    classifier: ConditionClassifier

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        if conditions is None:
            return x_t.flatten(1).sum(1) * 0
        return self.classifier.log_prob(x_t, t, conditions)


def _limits(run: Guided) -> tuple[Tensor, Tensor]:
    """What black and white are as they diffuse, (1, channels, height, width) each."""
    codec = run.codec
    if not codec.quantised:
        raise UserError("a threshold is for pictures, which lie between 0 and 255, not for points or latents")
    ends = torch.tensor([0, 255], dtype=torch.uint8, device=run.device).view(2, 1, 1, 1).expand(2, *codec.shape)
    low, high = codec.encode(ends).split(1)
    return low, high


def _check_classifier(classifier: Guided, run: Guided) -> None:
    if not classifier.is_classifier:
        raise UserError(
            f"{classifier.folder} is no classifier; train one with: undiffuse train ... --loss cross-entropy"
        )
    _check_alike(classifier, run, "the classifier")
    run.denoiser.process.require_gaussian("guidance by a classifier")


def _check_alike(other: Guided, run: Guided, what: str) -> None:
    """Whether process and codec are the same and, if both runs have labels, the names of the labels too."""
    theirs, ours = other.denoiser.process, run.denoiser.process
    if other.shape != run.shape or other.kind != run.kind:
        raise UserError(
            f"{what} is of {other.kind} of shape {other.shape}, this run of {run.kind} of shape {run.shape}"
        )
    if (theirs.schedule, getattr(theirs, "z", None)) != (ours.schedule, getattr(ours, "z", None)):
        raise UserError(
            f"{what} was trained on another schedule ({theirs.schedule}, not {ours.schedule}); train one on it"
        )
    if run.is_of_tokens and theirs.kernel != ours.kernel:
        raise UserError(f"{what} loses tokens in another way ({theirs.kernel}, not {ours.kernel})")
    mine, its = run.codec.state_dict(), other.codec.state_dict()
    alike = mine.keys() == its.keys() and all(
        mine[name].shape == its[name].shape and torch.allclose(mine[name], its[name].to(mine[name])) for name in mine
    )
    if not alike or other.codec_facts != run.codec_facts:
        raise UserError(f"{what} has another codec, or was trained on other data: what diffuses is not the same")
    if run.specifications and other.specifications != run.specifications:
        theirs_, ours_ = (_spoken(one.specifications) for one in (other, run))
        raise UserError(f"{what} knows other conditions ({theirs_}, not {ours_})")


def _spoken(specifications: Specifications) -> str:
    """Conditions and, of labels, their names."""
    said = [
        f"{name}: {', '.join(getattr(one, 'names', ()))}".removesuffix(": ") for name, one in specifications.items()
    ]
    return "; ".join(said) or "none"
