"""A recipe: the whole truth of a training, as one frozen value that is written down in ``recipe.yaml``.

What may stand in a field is what its type says; `undiffuse.core.configuration` reads, writes and overrides by those
types alone.
Ready ones are in `undiffuse.recipes`.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from torch.nn import Module

from undiffuse.codec import Description, Standard
from undiffuse.condition.label import Classes
from undiffuse.core.configuration import from_plain, override, to_plain
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.files import write_text
from undiffuse.data.source import Source
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import X0, EDMPrediction, Eps, Mean, Score, V, Velocity
from undiffuse.loss import adaptive as _adaptive  # noqa: F401  # laws of t
from undiffuse.loss import integral as _integral  # noqa: F401  # and weights, that a recipe may name
from undiffuse.loss.categorical import MaskedBound, TokenBound, Unrolled
from undiffuse.loss.cross_entropy import Classifier, CrossEntropy
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.mixed import MixedLoss
from undiffuse.loss.score_matching import ScoreMatching
from undiffuse.loss.variational import ContinuousBound, Hybrid, VariationalBound
from undiffuse.net import MLP, DiT, Folded, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.table import TableMLP
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import (
    ABSORBING,
    Affine,
    Categorical,
    Cosine,
    Fading,
    GaussianLaw,
    Ordinal,
    PoissonLaw,
    Replace,
    Schedule,
)
from undiffuse.process import learned as _learned  # noqa: F401  # a schedule that a recipe may name
from undiffuse.process.categorical import TokenShape
from undiffuse.process.mixed import Mixed, RowShape
from undiffuse.sampling.samplers import SAMPLERS, TOKEN_SAMPLERS, sampler_of
from undiffuse.train.average import power
from undiffuse.train.rate import Decay

N = TypeVar("N", bound=Module)
Precision = Literal["fp32", "bf16"]
Loss = Denoising | VariationalBound | ContinuousBound | Hybrid | ScoreMatching | CrossEntropy | MixedLoss
TokenLoss = TokenBound | MaskedBound | Unrolled


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and for how long.

    Attributes:
        data: Where the data comes from.
        codec: What diffuses: the data, or what an autoencoder makes of it; see `undiffuse.codec`.
        net, schedule, z, prediction, learned_variance: The denoiser: see `undiffuse.net`, `.process`, `.predict`.
        kernel, leave_one_out: Of tokens: how they are lost, and what the network says; see
            `undiffuse.denoiser.categorical`.
        loss: What is minimised.
        flip: Whether pictures are mirrored left to right, every other one, in training; not for letters.
        label_dropout: The share of labels hidden in training, which guidance needs; no matter without labels.
        attribute_dropout: Of data with several attributes, the share of each hidden besides, on its own; needed to ask
            for some attributes and leave others open.
        steps, batch: How long, and how many samples a step.
        lr, warmup, decay, beta2, weight_decay, clip: AdamW; ``warmup`` in steps, ``clip`` is of the gradient's norm.
        averages: Widths of the averages of the weights, as shares of the training; the first is what samples.
        precision: bf16 computes the network in half precision, in training and in sampling.
        compile: Whether the network is compiled (`torch.compile`): a minute to begin with, faster steps afterwards.
        seed: Of everything random in the training.
        save_every, report_every: In steps.
        sampler, sampling_steps, guidance: How to sample unless told otherwise; none steps is one a token or number,
            guidance 1 is none.
    """

    data: Source
    net: MLP | UNet | Folded | DiT | TableMLP | TokenTransformer | Embedded
    codec: Description = field(default_factory=Standard)
    schedule: Schedule = field(default_factory=Cosine)
    z: GaussianLaw | PoissonLaw = field(default_factory=GaussianLaw)
    prediction: Eps | X0 | V | Score | Velocity | Mean | EDMPrediction = field(default_factory=V)
    learned_variance: bool = False
    kernel: Replace | Ordinal = ABSORBING
    leave_one_out: bool = False
    loss: Loss | TokenLoss = field(default_factory=Denoising)
    flip: bool = False
    label_dropout: float = 0.1
    attribute_dropout: float = 0.0
    steps: int = 10_000
    batch: int = 128
    lr: float = 1e-3
    warmup: int = 100
    decay: Decay = "cosine"
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    averages: tuple[float, ...] = (0.05, 0.1)
    precision: Precision = "fp32"
    compile: bool = False
    seed: int = 0
    save_every: int = 1000
    report_every: int = 2500
    sampler: str = "ddim"
    sampling_steps: int | None = 20
    guidance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every", "report_every"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        if self.sampling_steps is not None:
            _require(self.sampling_steps >= 1, "sampling_steps", "at least 1", self.sampling_steps)
        for name in ("lr", "clip"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        for name in ("warmup", "weight_decay", "seed"):
            _require(getattr(self, name) >= 0, name, "at least 0", getattr(self, name))
        for name in ("label_dropout", "attribute_dropout", "beta2"):
            _require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1", getattr(self, name))
        _require(len(set(self.averages)) == len(self.averages) > 0, "averages", "one or more widths", self.averages)
        for width in self.averages:
            power(width)
        for name, known in (
            ("decay", get_args(Decay)),
            ("precision", get_args(Precision)),
            ("sampler", SAMPLERS | TOKEN_SAMPLERS),
        ):
            if getattr(self, name) not in known:
                raise UserError(nearest(getattr(self, name), known, name))

    @property
    def is_classifier(self) -> bool:
        """Whether this trains a classifier of noisy data, and not what makes some."""
        return isinstance(self.loss, CrossEntropy)

    def denoiser(self, shape: tuple[int, ...], classes: Classes) -> Any:
        """The `Denoiser`, untrained, for data of ``shape`` with ``classes`` labels (0: none); drawn from torch's seed.

        With the loss cross-entropy it is a classifier of noisy data: see `undiffuse.loss.cross_entropy`. For rows of
        numbers and tokens, whose shape is a `RowShape`, it is a `MixedDenoiser`: of numbers by the schedule, of tokens
        by masks. For tokens, whose shape is a `TokenShape`, it is a `TokenDenoiser`.

        Raises UserError where the network cannot take such data.
        """
        if isinstance(shape, RowShape):
            return self._of_rows(shape)
        if isinstance(shape, TokenShape):
            return self._of_tokens(shape, classes)
        return self._of_numbers(shape, classes)

    def _of_rows(self, shape: RowShape) -> MixedDenoiser:
        if not isinstance(self.net, TableMLP) or not isinstance(self.loss, MixedLoss):
            raise UserError("a table, or a picture with its label, needs --net table-mlp and --loss mixed-loss")
        self._refuse("a table", "kernel", "leave_one_out", "z", "learned_variance")
        tokens = Categorical(Fading(), ABSORBING, max(shape.classes, default=1))
        process = Mixed(shape.numbers, Affine(self.schedule), tokens)
        sampler_of(process, self.sampler)
        return MixedDenoiser(self._compiled(self.net.build(shape)), process, self.prediction)

    def _of_tokens(self, shape: TokenShape, classes: Classes) -> TokenDenoiser:
        if not isinstance(self.net, TokenTransformer | Embedded) or not isinstance(self.loss, TokenLoss):
            raise UserError("tokens need a network and a loss of tokens: --net token-transformer --loss masked-bound")
        self._refuse("tokens", "z", "prediction", "learned_variance")
        if isinstance(self.loss, MaskedBound) and self.kernel != ABSORBING:
            raise UserError("the masked bound is of masks alone; choose --kernel.mask 1, or --loss token-bound")
        process = Categorical(self.schedule, self.kernel, shape.classes)
        sampler_of(process, self.sampler)
        net = self.net.build(shape, process.states, classes)
        return TokenDenoiser(self._compiled(net), process, self.leave_one_out)

    def _of_numbers(self, shape: tuple[int, ...], classes: Classes) -> Denoiser:
        net, process = self.net, Affine(self.schedule, self.z)
        if isinstance(net, TableMLP | TokenTransformer | Embedded) or isinstance(self.loss, MixedLoss | TokenLoss):
            raise UserError("this --net or --loss is for tables or tokens alone; choose others")
        self._refuse("numbers", "kernel", "leave_one_out")
        sampler_of(process, self.sampler)
        if self.is_classifier:
            return Denoiser(Classifier(net.build, shape, classes), process, self.prediction)
        built = self._compiled(net.build(shape, classes, 2 if self.learned_variance else 1))
        return Denoiser(built, process, self.prediction, self.learned_variance)

    def _refuse(self, what: str, *names: str) -> None:
        """Raises UserError for a field that says something, and to ``what`` says nothing."""
        for known in fields(self):
            usual = known.default_factory() if callable(known.default_factory) else known.default
            if known.name in names and getattr(self, known.name) != usual:
                raise UserError(f"--{known.name.replace('_', '-')} says nothing of {what}; leave it out")

    def _compiled(self, net: N) -> N:
        if self.compile:
            net.compile()  # in place: the names of its tensors stay
        return net

    def override(self, path: str, text: str) -> Self:
        """The recipe with one field changed, as the command line says it: ``override("net.width", "256")``.

        Raises UserError for an unknown field or class, a wrong type or a value out of range.
        """
        return override(self, path, text)

    def to_yaml(self) -> str:
        """All fields, readable."""
        plain = to_plain(self)
        del plain["kind"]
        return yaml.safe_dump(plain, sort_keys=False, width=120)

    @classmethod
    def from_yaml(cls, text: str, where: str = "") -> Self:
        """The recipe that ``to_yaml`` wrote; fields that are not there take their defaults.

        Raises UserError, beginning with ``where``, for text that is no recipe, naming the nearest field or class.
        """
        try:
            plain = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{where or 'recipe'}: not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(plain, dict):
            raise UserError(f"{where or 'recipe'}: holds no fields; a recipe has data: and net: at least")
        try:
            return from_plain(cls, plain | {"kind": cls.__name__})
        except UserError as error:
            raise UserError(f"{where or 'recipe'}: {error}") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """The recipe in a file. Raises UserError where there is none."""
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            return cls.from_yaml(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file") from None

    def save(self, path: Path) -> None:
        """Write it down, whole or not at all."""
        write_text(path, self.to_yaml())


def _require(met: bool, name: str, wanted: str, given: object) -> None:
    if not met:
        raise UserError(f"{name} must be {wanted}, not {given}")
