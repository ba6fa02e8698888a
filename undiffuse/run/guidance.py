"""How a run is guided, as one value: away from what, how strongly, while how noisy, and within which limits.

    run.sample(64, label="3", guidance=3.0)
    run.sample(64, label="3", guidance=Guidance(3.0, negative="8", interval=(0.2, 5.0), threshold="dynamic"))

`undiffuse.denoiser.guidance` holds the guides themselves, which compose in other ways than this too.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from undiffuse.codec import Normalise
from undiffuse.condition.label import Label, Names, negative_of
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.guidance import (
    AutoGuidance,
    Classifier,
    ClassifierFree,
    Conditional,
    DynamicThreshold,
    Guide,
    Interval,
    Negative,
    StaticThreshold,
)
from undiffuse.loss.cross_entropy import log_prob

if TYPE_CHECKING:
    from undiffuse.run.run import Run

TWICE = 2.0  # the weight unless told, where guidance was asked for: of a classifier it is Bayes' rule


@dataclass(frozen=True)
class Guidance:
    """Guided away from no label, or the ``negative`` one; or by a ``classifier``; or away from a ``worse`` run.

    Attributes:
        weight: weak + weight (strong - weak); 1 is off; None is the recipe's, but 2 for a classifier, a worse run,
            or a negative label where the recipe's is off.
        negative: A label to steer away from. Of several attributes a mapping; those left out are kept as asked for.
        rescale: In [0, 1]: pulls each sample's spread back to the unguided one's (see `ClassifierFree`).
        interval: Guided only between these noise levels, sigma/alpha in standard deviations of the data.
        threshold: Keep pictures within black and white: ``"static"`` clips, ``"dynamic"`` scales (see `guide`).
        classifier: A run trained with the loss cross-entropy, on the same data and process.
        worse: A run of the same data and process: smaller, or trained for less.

    Raises:
        UserError: A value out of range, or two ways of guiding at once.
    """

    weight: float | None = None
    negative: Label | None = None
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, math.inf)
    threshold: Literal["static", "dynamic"] | None = None
    classifier: "Run | None" = None
    worse: "Run | None" = None

    def __post_init__(self) -> None:
        low, high = self.interval
        if self.weight is not None and not math.isfinite(self.weight):
            raise UserError(f"guidance must be a finite number, not {self.weight}")
        if not 0 <= self.rescale <= 1:
            raise UserError(f"rescale must be from 0 to 1, not {self.rescale}")
        if not 0 <= low < high:
            raise UserError(f"the interval of guidance is two noise levels, the lower first, not {low:g},{high:g}")
        if self.classifier and self.worse:
            raise UserError("guide by a classifier or by a worse run, not by both")
        if (self.classifier or self.worse) and (self.negative is not None or self.rescale):
            raise UserError("a negative label and rescale are for guidance by labels; leave out the other run")

    def names(self, run: "Run") -> Names:
        """What labels may be asked for: the run's; of a run without, those of the classifier that guides it."""
        return run.label_names or (self.classifier.label_names if self.classifier else ())

    def around(self, denoise: Conditional, run: "Run") -> Conditional:
        """The guided denoiser; ``denoise`` itself where there is nothing to do.

        Raises UserError where this run cannot be guided so.
        """
        if run.is_of_tokens and (self.classifier or self.rescale or self.threshold):
            raise UserError("tokens are guided by labels or by a worse run: no classifier, rescale or threshold")
        if run.is_joint and (self.threshold or self.weight_for(run) != 1):
            raise UserError("a picture that is drawn with its label is not guided: leave the options of guidance out")
        guided = self._guided(denoise, run)
        if self.threshold is None:
            return guided
        threshold = StaticThreshold if self.threshold == "static" else DynamicThreshold
        low, high = _limits(run)
        return threshold(guided, low=low, high=high)

    def _guided(self, denoise: Conditional, run: "Run") -> Conditional:
        schedule, weight = run.denoiser.process.schedule, self.weight_for(run)
        if not run.label_names:
            denoise = _Unlabelled(denoise)
        if weight == 1:
            return denoise
        guide: Guide
        if self.classifier:
            _check_classifier(self.classifier, run)
            guide = Classifier(denoise, _LogProb(self.classifier.denoiser), schedule, weight)
        elif self.worse:
            _check_alike(self.worse, run, "the worse run")
            guide = AutoGuidance(
                denoise, self.worse.denoiser if run.label_names else _Unlabelled(self.worse.denoiser), weight
            )
        else:
            guide = ClassifierFree(denoise, weight, self._negative(run), self.rescale)
        low, high = self.interval
        if (low, high) == (0.0, math.inf):
            return guide
        return Interval(guide, schedule, -2 * math.log(high), -2 * math.log(low) if low else math.inf)

    def weight_for(self, run: "Run") -> float:
        """How strong it is: 1, which is not at all, where nothing asks for it or can be guided."""
        if self.weight is not None:
            return self.weight
        usual = run.recipe.guidance if run.label_names and run.recipe.label_dropout > 0 else 1.0
        asked = self.classifier or self.worse or (self.negative is not None and usual == 1)
        return TWICE if asked else usual

    def _negative(self, run: "Run") -> Negative:
        if not run.label_names:
            raise UserError("guidance needs labels, and this model was trained without; leave --guidance out")
        negative = negative_of(run.label_names, self.negative)
        if negative == -1 and run.recipe.label_dropout == 0:
            raise UserError("guidance needs a model trained with --label-dropout above 0; leave --guidance out")
        if not isinstance(negative, int) and -1 in negative and run.recipe.attribute_dropout == 0:
            raise UserError("a negative attribute of none needs a model trained with --attribute-dropout above 0")
        return negative


@dataclass(frozen=True)
class _Unlabelled:
    """A denoiser without labels, where a label is told to others."""

    denoise: Conditional

    def __call__(self, x_t: Tensor, t: Number, label: Tensor | None = None) -> Any:
        return self.denoise(x_t, t)


@dataclass(frozen=True)
class _LogProb:
    """log p_t(label | x_t) of a trained classifier; 0 where no label is told."""

    classifier: Denoiser

    def __call__(self, x_t: Tensor, t: Number, label: Tensor | None = None) -> Tensor:
        return x_t.flatten(1).sum(1) * 0 if label is None else log_prob(self.classifier, x_t, t, label)


def _limits(run: "Run") -> tuple[Tensor, Tensor]:
    """What black and white are as they diffuse, (1, channels, height, width) each."""
    codec = run.codec
    if codec.kind != "pictures" or not isinstance(codec, Normalise):
        raise UserError("a threshold is for pictures, which lie between 0 and 255, not for points or latents")
    ends = torch.tensor([0, 255], dtype=torch.uint8, device=run.device).view(2, 1, 1, 1).expand(2, *codec.shape)
    low, high = codec.encode(ends).split(1)
    return low, high


def _check_classifier(classifier: "Run", run: "Run") -> None:
    if not classifier.is_classifier:
        raise UserError(
            f"{classifier.folder} is no classifier; train one with: undiffuse train ... --loss cross-entropy"
        )
    run.denoiser.process.require_gaussian("guidance by a classifier")
    _check_alike(classifier, run, "the classifier")


def _check_alike(other: "Run", run: "Run", what: str) -> None:
    """The same process, the same codec, and labels of the same names if both have some."""
    theirs, ours = other.recipe, run.recipe
    if other.shape != run.shape or other.kind != run.kind:
        raise UserError(
            f"{what} is of {other.kind} of shape {other.shape}, this run of {run.kind} of shape {run.shape}"
        )
    if (theirs.schedule, theirs.z) != (ours.schedule, ours.z):
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
    if run.label_names and other.label_names != run.label_names:
        raise UserError(f"{what} knows other labels ({_spoken(other.label_names)}, not {_spoken(run.label_names)})")


def _spoken(names: Names) -> str:
    return ", ".join(names) or "none"
