"""A recipe: the whole truth of a training, as one frozen value that is written down in ``recipe.yaml``.

    Recipe(Digits(), GaussianDiffusion(UNet(width=64)), training=Training(steps=1_500, batch=64))

The type of a field says which values it accepts; `undiffuse.core.configuration` reads, writes and overrides recipes by
these types. Ready recipes are in `undiffuse.recipes`.

The name of a field is its path, model.net.width, or the end of its path if that is unambiguous: width. A field of the
model, the training or the sampling itself takes precedence over deeper ones: steps is training.steps.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import yaml
from torch import Tensor

from undiffuse.codec import Description, Standard
from undiffuse.condition import scale
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Numbers, Specifications, Vector
from undiffuse.core.configuration import class_of, find, from_values, hints, kebab, leaves, put, read, scalar, to_values
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.files import write_text
from undiffuse.core.memory import within_memory
from undiffuse.data import augment
from undiffuse.data.dataset import Dataset
from undiffuse.data.source import Source
from undiffuse.recipe.flat import FIELDS, PATHS, is_flat, nested
from undiffuse.recipe.model import MODELS, FewSteps, Model, NoisyClassifier, PictureText, turned_into, type_with
from undiffuse.recipe.training import Training
from undiffuse.sampling.samplers import NAMES, sampler_of
from undiffuse.sampling.sampling import Sampling

TYPED = ("net", "loss", "model")  # the fields that can change the type of the model


class StageRun(Protocol):
    """What a stage asks of its run."""

    def dataset(self, split: str = "train") -> Dataset:
        """Its data."""
        ...

    def embedded(self, split: str, x: Tensor) -> Tensor:
        """The vectors of the pictures of a split of its data."""
        ...


@dataclass(frozen=True)
class Below:
    """A stage that draws a condition of the model: the same picture with fewer pixels, the embedding of a picture.

    Row i of its data is that condition of row i of the model's data, and its samples are that condition of samples.

    Attributes:
        condition: The name of the condition, and of the stage.
        recipe: How the stage is trained.
        noise: The most noise with which a picture is given; see `undiffuse.condition.low`.
    """

    condition: str
    recipe: "Recipe"
    noise: float = 0.0

    @property
    def name(self) -> str:
        """What the stage is called."""
        return self.condition

    def specification(self, shape: tuple[int, ...]) -> Picture | Vector:
        """What its samples are as a condition. Raises UserError for samples that are neither pictures nor points."""
        if len(shape) == 1:
            return Vector(shape[0])
        if len(shape) != 3:
            raise UserError(f"the stage {self.name} makes rows of shape {shape}; a condition is a picture or a vector")
        return Picture((shape[0], shape[1], shape[2]), self.noise)

    def told(self, data: Dataset, run: StageRun, split: str) -> Dataset:
        """Data with the rows of this stage as its condition. Raises UserError where they are not as many."""
        rows = run.dataset(split)
        if len(rows) != len(data):
            raise UserError(f"{data.name}: {len(data):,} rows, but {len(rows):,} of the stage {self.name}")
        of = self.specification(rows.shape)
        entries = {} if data.conditions is None else data.conditions.entries
        variants = {} if data.conditions is None else data.conditions.variants
        conditions = Conditions({**entries, self.condition: of.entry(rows.x)}, variants)
        return replace(data, conditions=conditions, specifications={**data.specifications, self.condition: of})


@dataclass(frozen=True)
class Embeds:
    """A stage whose vectors take the place of the pictures: what diffuses then are embeddings (unCLIP's prior).

    Attributes:
        name: What the stage is called.
        recipe: How it is trained: a `PictureText` model of the same data.
    """

    name: str
    recipe: "Recipe"

    def told(self, data: Dataset, run: StageRun, split: str) -> Dataset:
        """The vectors of the data's pictures, as points, with its conditions."""
        return replace(data, x=run.embedded(split, data.x), kind="points", name=f"{data.name}, embedded")


Stage = Below | Embeds


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, for how long, and how to sample it.

    Attributes:
        data: Where the data comes from.
        model: The network, the process and the loss.
        codec: What diffuses: the data, or its latents in an autoencoder; see `undiffuse.codec`.
        training: How to train.
        sampling: How to sample by default.
        stages: Runs within this one, which are trained first, in this order.
    """

    data: Source
    model: Model
    codec: Description = field(default_factory=Standard)
    training: Training = field(default_factory=Training)
    sampling: Sampling = field(default_factory=Sampling)
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if wrong := next((name for name in names if not name.isidentifier() or name in hints(Recipe)), None):
            raise UserError(f"a stage is called by one word that is no field of a recipe, not {wrong!r}")
        if len(set(names)) < len(names):
            raise UserError(f"stages have names of their own, not {', '.join(names)}")
        if self.sampling.sampler not in NAMES:
            raise UserError(nearest(self.sampling.sampler, NAMES, "sampler"))

    @property
    def is_classifier(self) -> bool:
        """Whether this trains a classifier of noisy data, not a model that samples."""
        return isinstance(self.model, NoisyClassifier)

    @property
    def samples(self) -> bool:
        """Whether this trains a model that samples."""
        return not isinstance(self.model, NoisyClassifier | PictureText)

    @property
    def of_vectors(self) -> bool:
        """Whether what diffuses is embeddings of the data's pictures."""
        return any(isinstance(stage, Embeds) for stage in self.stages)

    @property
    def scales(self) -> Numbers | None:
        """The guidance scale as a condition, if the model was distilled from a range of them."""
        return self.model.scales if isinstance(self.model, FewSteps) else None

    def specifications(self, of_data: Specifications) -> Specifications:
        """What the model may be asked for: the conditions of its data, and the guidance scale where it is one."""
        return of_data if self.scales is None else {**of_data, scale.NAME: self.scales}

    def inputs(self, specifications: Specifications) -> Specifications:
        """What its network is told: what it may be asked for, and, in training alone, how pictures were augmented."""
        names = self.training.augment if self.training.augment_told and not self.is_classifier else ()
        return {**specifications, augment.TOLD: augment.told(names)} if names else specifications

    @within_memory
    def denoiser(self, shape: tuple[int, ...], specifications: Specifications) -> Any:
        """The model's denoiser, untrained, for data of a latent ``shape`` with such conditions.

        Raises UserError if the model takes no such data or conditions, the sampler cannot sample it, or it does not fit
        memory.
        """
        denoiser = self.model.build(shape, self.inputs(specifications))
        sampler_of(denoiser.process, self.sampling.sampler, denoiser.learned_variance, denoiser.jumps)
        if self.training.compile:
            denoiser.net.compile()  # in place: the names of its tensors stay
        return denoiser

    def path_of(self, name: str) -> str:
        """The path of the field that a short name means: ``"net.width"``, model.net.width.

        Raises UserError if there is none, naming the nearest, or several, naming all.
        """
        name = name.replace("-", "_")
        first, _, rest = name.partition(".")
        if stage := self._stage(name):
            return f"{first}.{stage.recipe.path_of(rest)}"
        if first in hints(Recipe):
            return name
        if name in PATHS:
            return PATHS[name]
        if first in FIELDS:
            return f"{FIELDS[first]}.{rest}"
        found = find(self, name)
        if not found:
            raise UserError(nearest(name, self.names(), "field of Recipe"))
        if len(found) > 1:
            raise UserError(f"there are several {name}; which is meant: {', '.join(f'--{path}' for path in found)}?")
        return found[0]

    def option_of(self, path: str) -> str:
        """The option of the command line for the field at a path: --net.width for model.net.width."""
        if stage := self._stage(path):
            owner, _, rest = path.partition(".")
            return f"--{owner.replace('_', '-')}.{stage.recipe.option_of(rest).removeprefix('--')}"
        owner, *parts = path.split(".")
        short = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        own = (name for name in short if owner not in ("data", "codec") and self.path_of(name) == path)
        return f"--{next(own, path).replace('_', '-')}"

    def names(self) -> list[str]:
        """The shortest name of every field that has one."""
        stages = (stage.name for stage in self.stages)
        return sorted({*hints(Recipe), *PATHS, *stages, *(path.rpartition(".")[2] for path, _, _ in leaves(self))})

    def leaves(self) -> Iterator[tuple[str, Any, Any]]:
        """Every field that can be overridden, with those of the stages: its path, its type hint, and its value."""
        yield from (leaf for leaf in leaves(self) if leaf[0] != "stages")
        for stage in self.stages:
            yield from ((f"{stage.name}.{path}", hint, value) for path, hint, value in stage.recipe.leaves())

    def override(self, name: str, text: str) -> Self:
        """The recipe with one field changed, in the words of the command line: ``override("net.width", "256")``.

        A network or a loss that only another type of model has changes the model to that type, which keeps the shared
        fields: ``override("loss", "cross-entropy")`` makes a classifier of noisy data.

        Raises UserError for an unknown field or class, a wrong type or a value out of range.
        """
        if stage := self._stage(name):
            return self._with(stage, stage.recipe.override(name.partition(".")[2], text))
        path = self.path_of(name)
        if path == "model" and (cls := class_of(Model, text)):
            return replace(self, model=turned_into(cls, self.model))
        whole = scalar(text) if text.startswith("{") else text
        kind = whole.get("kind", "") if isinstance(whole, dict) else text
        return self._put(path, str(kind), lambda hint: read(hint, text, path))

    def overrides(self, pairs: Iterable[tuple[str, str]]) -> Self:
        """Several overrides, in any order: a part before its own parts, and first those that change the type of the
        model."""
        recipe = self
        for name, text in sorted(pairs, key=lambda pair: (pair[0].count("."), _rank(pair[0]))):
            recipe = recipe.override(name, text)
        return recipe

    def changed(self, **values: Any) -> Self:
        """The recipe with fields changed, by their short names: ``changed(steps=500, net=MLP(width=16))``.

        Raises UserError as `override` does.
        """
        recipe = self
        for name, value in sorted(values.items(), key=lambda pair: _rank(pair[0])):
            recipe = recipe._changed(name, value)
        return recipe

    def _changed(self, name: str, value: Any) -> Self:
        if stage := self._stage(name):
            return self._with(stage, stage.recipe.changed(**{name.partition(".")[2]: value}))
        return self._put(self.path_of(name), type(value).__name__, _just(value))

    def _on(self, before: Source, now: Source) -> Self:
        """The recipe and its stages on the data ``now``, wherever theirs are those ``before``, or are made of them."""
        own: Any = self.data
        made_of = getattr(own, "of", None) == before
        data = now if own == before else replace(own, of=now) if made_of else own
        stages = (replace(stage, recipe=stage.recipe._on(before, now)) for stage in self.stages)
        return replace(self, data=data, stages=tuple(stages))

    def _stage(self, name: str) -> Stage | None:
        """The stage that the field ``name`` is of: low, for low.steps."""
        first, dot, _ = name.replace("-", "_").partition(".")
        return next((stage for stage in self.stages if dot and stage.name == first), None)

    def _with(self, stage: Stage, recipe: "Recipe") -> Self:
        """The recipe with another one for a stage."""
        changed = replace(stage, recipe=recipe)
        return replace(self, stages=tuple(changed if one is stage else one for one in self.stages))

    def _put(self, path: str, kind: str, made: Callable[[Any], Any]) -> Self:
        owner, *names = path.split(".")
        if owner == "data":
            return self._on(self.data, put(self, path, made).data)
        if owner != "model" or not names:
            return put(self, path, made)
        own, owners = type(self.model), [cls for cls in MODELS if names[0] in hints(cls)]
        if owners and own not in owners:
            other, this = kebab(owners[0].__name__), kebab(own.__name__)
            raise UserError(f"{names[0]} is of {other}, and this recipe is of {this}; leave --{names[0]} out")
        cls = type_with(self.model, names[0], kind) if names in (["net"], ["loss"]) else own
        if cls is own:
            return put(self, path, made)
        return replace(self, model=turned_into(cls, self.model, **{names[0]: made(hints(cls)[names[0]])}))

    def to_yaml(self) -> str:
        """All fields, readable."""
        return yaml.safe_dump(to_values(self, Recipe), sort_keys=False, width=120)

    @classmethod
    def from_yaml(cls, text: str, where: str = "") -> Self:
        """The recipe that ``to_yaml`` wrote; missing fields take their defaults.

        A recipe from before recipes had parts is converted, with a `Caution`.

        Raises UserError, which begins with ``where``, for text that is no recipe, naming the nearest field or class.
        """
        try:
            plain = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: invalid numbers and dates
            raise UserError(f"{where or 'recipe'}: not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(plain, dict):
            raise UserError(f"{where or 'recipe'}: holds no fields; a recipe has data: and model: at least")
        try:
            return from_values(cls, nested(plain, where) if is_flat(plain) else plain)
        except UserError as error:
            raise UserError(f"{where or 'recipe'}: {error}") from None
        except RecursionError:
            raise UserError(f"{where or 'recipe'}: contains itself; remove the YAML alias") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """The recipe in a file. Raises UserError if there is none."""
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            return cls.from_yaml(path.read_text(encoding="utf-8"), str(path))
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file") from None

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        write_text(path, self.to_yaml())


def _just(value: Any) -> Callable[[Any], Any]:
    return lambda hint: value


def _rank(name: str) -> int:
    return TYPED.index(name) if name in TYPED else len(TYPED)
