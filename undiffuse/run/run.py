"""A run: the folder of a training, opened for sampling.

run = undiffuse.load("runs/digits")
run.sample(64, label="3", steps=20, guidance=2.0)

recipe.yaml         the whole truth of the training
model.safetensors   what sampling uses: averaged weights, the codec, what the data looked like
state/              what going on needs          (`undiffuse.train.state`)
log.jsonl  tensorboard/  pictures/               (`undiffuse.train.log`)
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from undiffuse.codec import Codec, Labelled, LabelledCodec, TableCodec, Tabular, TokenCodec, Verbatim
from undiffuse.condition.label import Label, Names, classes, read_labels
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.core.linear import scale
from undiffuse.core.modules import modules
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.data.dataset import Dataset
from undiffuse.denoiser.guidance import Conditional
from undiffuse.denoiser.mixed import GivenLabel
from undiffuse.process.categorical import TokenShape
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.guidance import Guidance
from undiffuse.sampling.grid import GRIDS
from undiffuse.sampling.loop import State, last, trajectory
from undiffuse.sampling.samplers import Sampler, sampler_of, samplers_of
from undiffuse.step import Step

FORMAT = "undiffuse 1"
RECIPE, MODEL, STATE = "recipe.yaml", "model.safetensors", "state"
VALUES = {"cpu": 1 << 17, "cuda": 1 << 22}  # numbers in a batch of states: what fits cache and memory

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Plan(NamedTuple):
    """How to sample: by which sampler, on which times, and the denoiser before it is told labels."""

    sampler: str
    step: Step
    times: tuple[float, ...]
    denoise: Conditional
    evaluations: int  # of the network, for a sample


@dataclass(frozen=True)
class Run:
    """A trained model with all that it takes to sample, measure and understand it.

    Attributes:
        folder: Where it lies.
        recipe: How it was trained.
        denoiser: A `Denoiser`, of a table a `MixedDenoiser`, of tokens a `TokenDenoiser`; with averaged weights, in
            eval mode.
        codec: Between data and what diffuses.
        label_names: Empty for a model without labels; see `undiffuse.condition.label`.
        columns: Names of the columns of points, where they are known.
        step: How many steps it was trained.
        seconds: How long that took.
    """

    folder: Path
    recipe: Recipe
    denoiser: Any
    codec: Codec
    label_names: Names = ()
    columns: tuple[str, ...] = ()
    step: int = 0
    seconds: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (columns,) or (channels, height, width)."""
        return self.codec.shape

    @property
    def kind(self) -> str:
        """``"points"``, ``"pictures"``, ``"tokens"`` or ``"table"``."""
        return self.codec.kind

    @property
    def is_classifier(self) -> bool:
        """Whether it tells labels of noisy data, and samples nothing."""
        return self.recipe.is_classifier

    @property
    def is_of_tokens(self) -> bool:
        """Whether what diffuses is tokens: of a text, or of a picture."""
        return isinstance(self.codec.latent_shape, TokenShape)

    @property
    def is_joint(self) -> bool:
        """Whether it draws pictures together with their labels; see `undiffuse.kind.joint`."""
        return isinstance(self.codec, LabelledCodec)

    @property
    def samplers(self) -> dict[str, Sampler]:
        """What can sample it, by name."""
        return samplers_of(self.denoiser.process)

    @property
    def sampling_steps(self) -> int:
        """How many steps sampling takes, unless told otherwise."""
        return self.recipe.sampling_steps or torch.Size(self.codec.latent_shape).numel()

    @property
    def codec_facts(self) -> str | None:
        """What it takes to make its codec besides the shape, as JSON; None of most."""
        return self.codec.facts() if isinstance(self.codec, TableCodec | TokenCodec | LabelledCodec) else None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.denoiser.parameters()).device

    def dataset(self, split: str = "train") -> Dataset:
        """What it was trained on, or with ``"test"`` what was held out."""
        return self.recipe.data.open(split)

    def sample(
        self,
        count: int,
        label: Label | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | Guidance | None = None,
        seed: int = 0,
        batch: int | None = None,
        grid: str | None = None,
        first: int = 0,
        decoded: bool = True,
    ) -> Tensor:
        """Samples number ``first``, ``first`` + 1, ...: (count, *shape), uint8 pictures or float32 points, on the CPU.

        Rows of a table are float64, as `Dataset` has them; to fix some of its columns see `undiffuse.kind.fill`.

        Sample i is a function of ``seed`` and i (to rounding): not of ``count``, nor of the ``batch`` that is
        computed at once. What is None is as the recipe says; ``label`` is as `labels` says, ``guidance`` a weight or
        a `Guidance`. With ``decoded`` false, samples stay as they diffuse, (count, *latent_shape).

        Raises:
            UserError: Counts below 1, an unknown sampler, grid or label, labels or guidance of a model without.
        """
        guided = _guidance(guidance)
        plan = self.plan(steps, sampler, guided, grid)
        labels = self.labels(count, label, first, guided)
        decode = self.codec.decode if decoded else Tensor.cpu

        def made(rows: range) -> Tensor:
            told = None if labels is None else labels[rows.start : rows.stop]
            return decode(last(self._states(plan, len(rows), told, seed, first + rows.start)))

        batch = self.batch if batch is None else _at_least(1, "batch", batch)
        return in_batches(count, batch, made, decode(self._blank(0)))

    def _blank(self, count: int) -> Tensor:
        """States yet to be drawn, (count, *latent_shape)."""
        dtype = torch.long if self.is_of_tokens else torch.float32
        return torch.zeros(count, *self.codec.latent_shape, dtype=dtype, device=self.device)

    def trajectory(
        self,
        count: int,
        label: Label | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | Guidance | None = None,
        seed: int = 0,
        grid: str | None = None,
        first: int = 0,
    ) -> Iterator[tuple[Tensor, float]]:
        """Every state on the way, as (decoded x, t): noise first, at the end the samples that ``sample`` returns.

        States are brought to the spread of the data before they are decoded, so that noise looks like noise under
        every schedule. Raises UserError as ``sample`` does.
        """
        if self.kind == "table":
            raise UserError("a table has no trajectory to look at; use: undiffuse sample")
        guided = _guidance(guidance)
        plan = self.plan(steps, sampler, guided, grid)
        states = self._states(plan, count, self.labels(count, label, first, guided), seed, first)
        for x, t in states:
            spread = 1.0 if t == 0 or self.is_of_tokens else self.denoiser.process.input_scale(t)
            yield self.codec.decode(x if spread == 1.0 else scale(spread, x)).cpu(), t

    @usage()
    def labels(
        self, count: int, label: Label | None = None, first: int = 0, guidance: float | Guidance | None = None
    ) -> Tensor | None:
        """The labels of samples ``first``, ``first`` + 1, ...: (count,), or (count, attributes) of several attributes.

        ``label`` is as `undiffuse.condition.label.read_labels` says:
        an index, a name, a mapping for several attributes, or a
        list of them that sample i reads at i modulo its length; -1 or "none" is no label; None is every label in turn,
        or of a run that draws labels itself none.
        The result is None for a model without labels, unless it is guided by a classifier, whose labels are meant.

        Raises:
            UserError: A count below 1, an unknown label (naming the nearest), or any label of a model without.
        """
        _at_least(1, "count", count)
        if first < 0:
            raise UserError(f"samples are counted from 0, not from {first}")
        names = _guidance(guidance).names(self)
        if not names:
            if label is not None:
                raise UserError("this model was trained without labels; leave the label out, or train on labelled data")
            return None
        wanted = read_labels(names, -1 if label is None and self.is_joint else label)
        if self.label_names and not self.is_joint:
            self._check_hidden(wanted)
        return wanted[torch.arange(first, first + count) % len(wanted)]

    def _check_hidden(self, wanted: Tensor) -> None:
        """Whether the model was trained without the labels that are none."""
        none = (wanted < 0).reshape(len(wanted), -1)
        if none.all(1).any() and self.recipe.label_dropout == 0:
            raise UserError("no label needs a model trained with --label-dropout above 0; give labels")
        if (none.any(1) & ~none.all(1)).any() and self.recipe.attribute_dropout == 0:
            raise UserError("none for some attributes needs a model trained with --attribute-dropout above 0; give all")

    @usage()
    def plan(
        self,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | Guidance | None = None,
        grid: str | None = None,
    ) -> Plan:
        """How it is sampled; what is None is as the recipe says. Raises UserError as ``sample`` does."""
        if self.is_classifier:
            raise UserError(
                "this run is a classifier, which samples nothing; guide another run by it: --classifier RUN"
            )
        name, process = sampler or self.recipe.sampler, self.denoiser.process
        chosen = sampler_of(process, name)
        if chosen.learned_variance and not self.recipe.learned_variance:
            raise UserError(f"{name} needs a model that learned its variance; train with --learned-variance true")
        count = _at_least(1, "steps", self.sampling_steps if steps is None else steps)
        times = (_known(GRIDS, grid, "grid") if grid else chosen.grid)(process.schedule, count)
        denoiser: Any = GivenLabel(self.denoiser) if self.is_joint else self.denoiser
        denoise: Conditional = self.in_half(denoiser.belief if chosen.learned_variance else denoiser.__call__)
        guided = _guidance(guidance).around(denoise, self)
        return Plan(name, chosen.make(process), times, guided, chosen.evaluations(count))

    def in_half(self, denoise: F) -> F:
        """A denoiser that computes in half precision, if that is the recipe's."""
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")
        return cast(F, half(denoise))

    def _states(self, plan: Plan, count: int, labels: Tensor | None, seed: int, first: int) -> Iterator[State]:
        denoise = plan.denoise if labels is None else partial(plan.denoise, label=labels.to(self.device))
        noise = SeededNoise(seed, first)
        x = self.denoiser.process.start(self._blank(count), noise, plan.times[0])
        return trajectory(plan.step, denoise, x, plan.times, noise)

    @property
    def batch(self) -> int:
        """How many samples are computed at once, unless told otherwise."""
        size = torch.Size(self.shape).numel()
        if isinstance(self.codec.latent_shape, TokenShape):
            size *= max(1, self.codec.latent_shape.classes // 32)  # a token is as many probabilities
        return max(1, VALUES.get(self.device.type, VALUES["cuda"]) // size)


def load(folder: str | Path, device: str | torch.device | None = None) -> Run:
    """Open the run in a folder, on the accelerator if there is one.

    Raises:
        UserError: No such folder, no run in it, nothing trained yet, or a model that is truncated or of another recipe.
    """
    folder = Path(folder).expanduser()
    recipe = read_recipe(folder)
    path = folder / MODEL
    if not path.is_file():
        raise UserError(f"{folder}: holds no trained model yet; go on with: undiffuse resume {folder}")
    tensors, facts = read_tensors(path)
    if facts.get("format") != FORMAT:
        raise UserError(f"{path}: not a model of undiffuse ({facts.get('format', 'no format given')})")
    label_names = _names(json.loads(facts["label_names"]))
    with torch.random.fork_rng(devices=[]):
        codec = _codec(recipe, facts)
        denoiser = recipe.denoiser(codec.latent_shape, classes(label_names))
    run = Run(
        folder,
        recipe,
        denoiser,
        codec,
        label_names,
        tuple(json.loads(facts["columns"])),
        int(facts["step"]),
        float(facts["seconds"]),
    )
    try:
        _modules(run).load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path}: not of this recipe ({' '.join(str(error).split())[:150]})") from None
    _modules(run).to(device or _best_device()).eval().requires_grad_(False)
    return run


def save_model(run: Run) -> None:
    """Write ``model.safetensors`` into the run's folder, whole or not at all."""
    facts = {
        "format": FORMAT,
        "kind": run.kind,
        "shape": json.dumps(run.shape),
        "label_names": json.dumps(run.label_names),
        "columns": json.dumps(run.columns),
        "step": str(run.step),
        "seconds": f"{run.seconds:.3f}",
    }
    if run.codec_facts is not None:
        facts["codec"] = run.codec_facts
    write_tensors(run.folder / MODEL, _modules(run).state_dict(), facts)


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a run. Raises UserError where there is no run, naming what lies near."""
    if not folder.is_dir():
        beside = [other.name for other in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise UserError(f"{folder}: {nearest(folder.name, beside, 'run') if beside else 'no such folder'}")
    if not (folder / RECIPE).is_file():
        raise UserError(
            f"{folder}: not a run, it holds no {RECIPE}; make one with: undiffuse train RECIPE --out FOLDER"
        )
    return Recipe.load(folder / RECIPE)


def _codec(recipe: Recipe, facts: dict[str, str]) -> Codec:
    """The codec that a model's file is loaded into."""
    shape = tuple(json.loads(facts["shape"]))
    if isinstance(recipe.codec, Tabular | Verbatim | Labelled):
        return recipe.codec.restore(shape, facts["codec"])
    return recipe.codec.build(facts["kind"], shape)


def _modules(run: Run) -> torch.nn.ModuleDict:
    process = torch.nn.ModuleList(modules(run.denoiser.process))  # a learned schedule
    return torch.nn.ModuleDict({"denoiser": run.denoiser, "codec": run.codec, "process": process})


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def _names(plain: list[str] | dict[str, list[str]]) -> Names:
    """Names of labels, as JSON has them."""
    return {name: tuple(values) for name, values in plain.items()} if isinstance(plain, dict) else tuple(plain)


def _guidance(given: float | Guidance | None) -> Guidance:
    return given if isinstance(given, Guidance) else Guidance(given)


def _at_least(least: int, name: str, value: int) -> int:
    if value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")
    return value


def _known(table: dict[str, T], name: str, what: str) -> T:
    if name not in table:
        raise UserError(nearest(name, table, what))
    return table[name]
