"""What is trained: one type for each way to diffuse. A type has only fields that work together.

    GaussianDiffusion     numbers that turn into noise
    NoisyClassifier       predicts the labels of such numbers, to guide a diffusion
    DiscreteDiffusion     tokens that are lost
    MixedDiffusion        rows of numbers beside tokens
    FewSteps              numbers, drawn in one step or a few
    Bridge                numbers that turn into other numbers
    PictureText           vectors of pictures and texts, to tell which belong together

``model.build(shape, specifications)`` is its untrained denoiser for data of a latent shape and such conditions, drawn
from torch's seed.
"""

import math
from dataclasses import dataclass, field, is_dataclass
from typing import Any

from undiffuse.condition import scale
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.label import names_of
from undiffuse.condition.specification import Labels, Numbers, Specifications, Text
from undiffuse.core.configuration import class_of, classes, hints, kebab, spoken
from undiffuse.core.errors import UserError
from undiffuse.core.modules import built
from undiffuse.denoiser.bridge import START, BridgeDenoiser, of_start
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.classifier import ConditionClassifier, multiple
from undiffuse.denoiser.contrastive import PictureTextModel
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import X0, Difference, EDMPrediction, Eps, Mean, Score, V, Velocity
from undiffuse.loss import adaptive as _adaptive  # noqa: F401  # distributions of t
from undiffuse.loss import integral as _integral  # noqa: F401  # and weights,
from undiffuse.loss import markovian as _markovian  # noqa: F401  # and rounds of bridges
from undiffuse.loss import methods as _methods  # noqa: F401  # and methods of few steps, that a recipe may name
from undiffuse.loss import proportional as _proportional  # noqa: F401
from undiffuse.loss.bridging import BridgeLoss, Matching
from undiffuse.loss.categorical import MaskedBound, TokenBound, Unrolled
from undiffuse.loss.consistency import ConsistencyDistillation
from undiffuse.loss.contrastive import Contrastive
from undiffuse.loss.cross_entropy import CrossEntropy
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.few_step import FewStepLoss
from undiffuse.loss.mixed import MixedLoss
from undiffuse.loss.poisson_field import PoissonField
from undiffuse.loss.rates import RateBound
from undiffuse.loss.score_matching import ScoreMatching
from undiffuse.loss.variational import ContinuousBound, Hybrid, VariationalBound
from undiffuse.net import MLP, DiT, SignalUNet, SpaceToDepth, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.table import TableMLP
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.pipeline.network import PipelineNet
from undiffuse.process import (
    ABSORBING,
    Affine,
    Categorical,
    Cosine,
    Fading,
    GaussianNoise,
    HybridNoise,
    Mixed,
    Ordinal,
    Pinned,
    PoissonNoise,
    Replace,
    Schedule,
    StoredRows,
)
from undiffuse.process import learned as _learned  # noqa: F401  # a schedule that a recipe may name
from undiffuse.process.categorical import TokenShape
from undiffuse.process.mixed import RowShape
from undiffuse.process.schedule import checked

Net = MLP | UNet | SpaceToDepth | DiT | SignalUNet | PipelineNet  # of numbers


@dataclass(frozen=True)
class GaussianDiffusion:
    """Numbers that turn into noise: x_t = alpha x_0 + sigma z.

    Attributes:
        net: See `undiffuse.net`.
        schedule, z: How fast the data is lost, and the distribution of the noise; see `undiffuse.process`.
        prediction: What the network is asked for; see `undiffuse.denoiser.prediction`.
        learned_variance: Whether it learns the variance of a step too; only the loss ``Hybrid`` or the bound does.
        loss: What is minimised; by default `Denoising`, and with a learned variance `Hybrid`, as improved DDPM's.
    """

    net: Net
    schedule: Schedule = field(default_factory=Cosine)
    z: GaussianNoise | PoissonNoise = field(default_factory=GaussianNoise)
    prediction: Eps | X0 | V | Score | Velocity | Difference | Mean | EDMPrediction = field(default_factory=V)
    learned_variance: bool = False
    loss: Denoising | VariationalBound | ContinuousBound | Hybrid | ScoreMatching | PoissonField = field(
        default_factory=Denoising
    )

    def __post_init__(self) -> None:
        if self.learned_variance and self.loss == Denoising():
            object.__setattr__(self, "loss", Hybrid())  # no other loss trains the variance

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> Denoiser:
        """The denoiser of data of ``shape``.

        Raises UserError where it takes no such data, no such conditions, or the loss does not train it.
        """
        _require(self, shape)
        encoder = Encoder(specifications, self.net.vector)
        net = self.net.build(shape, encoder.widths, 2 if self.learned_variance else 1)
        process = Affine(checked(built(self.schedule)), self.z)
        denoiser = Denoiser(net, process, self.prediction, self.learned_variance, encoder)
        self.loss.check(denoiser)
        return denoiser


@dataclass(frozen=True)
class NoisyClassifier:
    """Predicts the label of noisy data. It cannot sample; it guides a diffusion with the same schedule and noise.

    Attributes:
        net, schedule, z: As of `GaussianDiffusion`.
        loss: What is minimised; see `undiffuse.loss.cross_entropy`.
    """

    net: Net
    schedule: Schedule = field(default_factory=Cosine)
    z: GaussianNoise | PoissonNoise = field(default_factory=GaussianNoise)
    loss: CrossEntropy = field(default_factory=CrossEntropy)

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> ConditionClassifier:
        """The classifier of the conditions that are labels. Raises UserError for data without labels."""
        _require(self, shape)
        classes = {name: len(one.names) for name, one in specifications.items() if isinstance(one, Labels)}
        if min(classes.values(), default=0) < 2:
            raise UserError("a classifier needs data with labels, at least two of them")
        encoder, times = Encoder({}, self.net.vector), multiple(shape[0])
        net = self.net.build(shape, encoder.widths, times)
        return ConditionClassifier(
            net, times * shape[0], classes, Affine(checked(built(self.schedule)), self.z), encoder
        )


@dataclass(frozen=True)
class DiscreteDiffusion:
    """Tokens that are lost, and predicted.

    Attributes:
        net: Of tokens; or any network of pictures on embeddings of theirs.
        kernel: What becomes of a token that is lost; see `undiffuse.process.kernel`.
        schedule: How fast tokens are lost.
        loss: What is minimised.
        leave_one_out: What the network says of a token; see `undiffuse.denoiser.categorical`.
    """

    net: TokenTransformer | Embedded
    kernel: Replace | HybridNoise | Ordinal = ABSORBING
    schedule: Schedule = field(default_factory=Cosine)
    loss: TokenBound | MaskedBound | RateBound | Unrolled = field(default_factory=MaskedBound)
    leave_one_out: bool = False

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> TokenDenoiser:
        """The denoiser of tokens of ``shape``.

        Raises UserError for data that is not tokens, and where the loss does not train it.
        """
        _require(self, shape)
        assert isinstance(shape, TokenShape)
        process = Categorical(checked(built(self.schedule)), self.kernel, shape.classes)
        encoder = Encoder(specifications, self.net.vector, getattr(self.net, "time", True))
        net = self.net.build(shape, process.states, encoder.widths)
        denoiser = TokenDenoiser(net, process, self.leave_one_out, encoder)
        self.loss.check(denoiser)
        return denoiser


@dataclass(frozen=True)
class MixedDiffusion:
    """Rows of numbers, which turn into noise, and of tokens, which are masked.

    Attributes:
        net: Of rows.
        schedule: How fast the numbers are lost.
        prediction: What the network is asked for of the numbers.
        loss: What is minimised.
    """

    net: TableMLP = field(default_factory=TableMLP)
    schedule: Schedule = field(default_factory=Cosine)
    prediction: Eps | X0 | V | Score | Velocity | Mean | EDMPrediction = field(default_factory=V)
    loss: MixedLoss = field(default_factory=MixedLoss)

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> MixedDenoiser:
        """The denoiser of rows of ``shape``. Raises UserError for data that is not rows of numbers and tokens."""
        _require(self, shape)
        assert isinstance(shape, RowShape)
        tokens = Categorical(Fading(), ABSORBING, max(shape.classes, default=1))
        process = Mixed(shape.numbers, Affine(checked(built(self.schedule))), tokens)
        undrawn = {name: one for name, one in specifications.items() if name not in shape.drawn}
        encoder = Encoder(undrawn, self.net.vector)
        return MixedDenoiser(self.net.build(shape, encoder.widths), process, self.prediction, encoder, shape.drawn)


@dataclass(frozen=True)
class FewSteps:
    """Numbers, drawn in one step or a few by a network that jumps along the probability flow.

    Attributes:
        net, schedule: As of `GaussianDiffusion`.
        prediction: What the network is asked for: one that gives x_0 itself where there is no noise, or x0 where the
            method never asks it there.
        loss: The method; see `undiffuse.loss.few_step`.
        distilled_guidance: The guidance scale of its teacher; two, A,B, are a range, and the scale is then a condition.
            Empty is the teacher's default.

    Raises:
        UserError: More than two scales, a range that does not rise, or a prediction that the method does not train.
    """

    net: Net
    schedule: Schedule = field(default_factory=Cosine)
    prediction: V | X0 | Velocity | EDMPrediction = field(default_factory=V)
    loss: FewStepLoss = field(default_factory=ConsistencyDistillation)
    distilled_guidance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        scales = self.distilled_guidance
        if len(scales) > 2 or not all(map(math.isfinite, scales)) or (len(scales) == 2 and not scales[0] < scales[1]):
            said = ",".join(f"{scale:g}" for scale in scales)
            raise UserError(f"guidance is one scale, as 2, or a range of two, the lower first, as 1,4; not {said}")
        if not isinstance(self.prediction, self.loss.predictions):
            able = ", ".join(kebab(one.__name__) for one in self.loss.predictions)
            said, method = kebab(type(self.prediction).__name__), kebab(type(self.loss).__name__)
            raise UserError(f"{method} does not train a network that predicts {said}; choose --prediction {able}")

    @property
    def scales(self) -> Numbers | None:
        """The guidance scale as a condition, if there is a range of them."""
        return scale.scales(*self.distilled_guidance) if len(self.distilled_guidance) == 2 else None

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> FlowMap:
        """The flow map of data of ``shape``. Raises UserError where it takes no such data or conditions."""
        _require(self, shape)
        encoder = Encoder(specifications, self.net.vector, second=self.loss.told_where)
        net = self.net.build(shape, encoder.widths, 1)
        return FlowMap(net, Affine(checked(built(self.schedule))), self.prediction, encoder, self.loss.samplers)


@dataclass(frozen=True)
class Bridge:
    """Numbers that turn into other numbers: the way between two data sets; see `undiffuse.process.pinned`.

    Attributes:
        net: As of `GaussianDiffusion`.
        sigma: The noise of the way between two points; 0 is none, and the way a flow.
        loss: The method: which pairs it learns from; see `undiffuse.loss.bridging`.
        kept: How many rows of the data that it starts from are stored with the model, to sample from; 0 if it starts
            from noise.
        told_start: Whether the network sees x_1 beside x_t; such a bridge has no way back.
    """

    net: Net
    sigma: float = 0.0
    loss: BridgeLoss = field(default_factory=Matching)
    kept: int = 4096
    told_start: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf or self.kept < 0:
            raise UserError(f"a bridge needs sigma and kept at least 0, not {self.sigma} and {self.kept}")

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> BridgeDenoiser:
        """The denoiser of a bridge between data of ``shape``. Raises UserError for tokens or tables."""
        _require(self, shape)
        labelled = bool(names_of(specifications))
        process = Pinned(z=StoredRows(self.kept, shape, labelled) if self.kept else GaussianNoise(), sigma=self.sigma)
        told = {START: of_start(shape)} if self.told_start else {}
        encoder = Encoder({**told, **specifications}, self.net.vector)
        net = self.net.build(shape, encoder.widths, 2 if self.sigma else 1)
        return BridgeDenoiser(net, process, encoder, self.told_start)


@dataclass(frozen=True)
class PictureText:
    """Vectors of pictures and of texts, near where they belong together. It cannot sample; see
    `undiffuse.denoiser.contrastive`.

    Attributes:
        net: As of `GaussianDiffusion`.
        loss: What is minimised.
        dimensions: Of a vector.
    """

    net: Net
    loss: Contrastive = field(default_factory=Contrastive)
    dimensions: int = 64

    def __post_init__(self) -> None:
        if self.dimensions < 2:
            raise UserError(f"vectors of pictures and texts have at least 2 dimensions, not {self.dimensions}")

    def build(self, shape: tuple[int, ...], specifications: Specifications) -> PictureTextModel:
        """The model of pictures of ``shape``. Raises UserError for data without captions that have a vector."""
        _require(self, shape)
        texts = {name: one for name, one in specifications.items() if isinstance(one, Text)}
        if not texts or len(shape) != 3:
            raise UserError("a model of pictures and texts needs pictures with captions")
        encoder, level = Encoder(texts, self.net.vector, level=False), Encoder({}, self.net.vector)
        if not encoder.widths.vector:
            raise UserError("a model of pictures and texts needs a vector of each text: --data.text transformer")
        times = multiple(shape[0])
        net, process = self.net.build(shape, level.widths, times), Affine(checked(Cosine()))
        return PictureTextModel(net, times * shape[0], self.dimensions, process, level, encoder)


Model = GaussianDiffusion | NoisyClassifier | DiscreteDiffusion | MixedDiffusion | FewSteps | Bridge | PictureText
MODELS = (GaussianDiffusion, NoisyClassifier, DiscreteDiffusion, MixedDiffusion, FewSteps, Bridge, PictureText)


def type_with(model: Model, name: str, kind: str) -> type:
    """The type of the model, or the type that has such a part (``"loss"``, ``"token-bound"``) if this one has not."""
    own = type(model)
    return next((cls for cls in (own, *MODELS) if class_of(hints(cls).get(name), kind)), own)


def turned_into(cls: type, model: Model, **given: Any) -> Any:
    """A model of another type, with the fields that are ``given`` and those that both types share.

    Raises UserError if the other type needs a network that this model does not have.
    """
    shared = {}
    for name, hint in hints(cls).items():
        value = getattr(model, name, None)
        fits = type(value) in classes(hint).values() or (name != "net" and not is_dataclass(value))
        if name not in given and hasattr(model, name) and fits:
            shared[name] = value
    if "net" not in shared | given and cls is not MixedDiffusion:
        part = "".join(f"{kebab(type(value).__name__)} is of " for value in given.values())
        raise UserError(f"{part}{kebab(cls.__name__)}, which needs another network: --net {spoken(hints(cls)['net'])}")
    return cls(**shared | given)


def _require(model: Model, shape: tuple[int, ...]) -> None:
    """Raises UserError if data of a latent shape needs a model of another type."""
    needed = next((cls for kind, cls in OF_SHAPE.items() if isinstance(shape, kind)), GaussianDiffusion)
    if OF[type(model)] != OF[needed]:
        raise UserError(
            f"{kebab(type(model).__name__)} is of {OF[type(model)]}, and what diffuses here is {OF[needed]}: "
            f"choose another codec, or a network of these, --net {spoken(hints(needed)['net'])}"
        )


OF_SHAPE: dict[type, type] = {TokenShape: DiscreteDiffusion, RowShape: MixedDiffusion}
OF = {
    GaussianDiffusion: "numbers",
    NoisyClassifier: "numbers",
    DiscreteDiffusion: "tokens",
    MixedDiffusion: "rows of numbers and tokens",
    FewSteps: "numbers",
    Bridge: "numbers",
    PictureText: "numbers",
}
