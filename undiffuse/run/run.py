"""A run: the folder of a training, opened for sampling.

run = undiffuse.load("runs/digits")
run.sample(64, label="3", steps=20, guidance=2.0)

`undiffuse.run.folder` reads and writes its files.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from undiffuse.codec import Codec
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import Names, combined, conditions_of, labels_of, names_of
from undiffuse.condition.low import check_level, pictures_with_noise
from undiffuse.condition.picture import Picture
from undiffuse.condition.read import Request, name_of_text, read, with_label, with_more
from undiffuse.condition.scale import NAME, with_none
from undiffuse.condition.specification import Labels, Numbers, Specification, Specifications
from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.core.memory import require
from undiffuse.core.modules import modules
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.data.dataset import Dataset, random_conditions
from undiffuse.data.source import Elsewhere, Files, Hub, Source
from undiffuse.denoiser.guidance import Conditional
from undiffuse.process.pinned import Pinned, StoredRows
from undiffuse.recipe.model import Bridge, FewSteps
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.embed import EMBEDS, kept_vectors
from undiffuse.run.given import Drawing, Told
from undiffuse.run.guidance import check_guides, guided, weight_for
from undiffuse.run.shown import latest_picture, run_html
from undiffuse.run.stages import completed, height_of, require_stage, told, with_undrawn, without_drawn
from undiffuse.run.start import PURE_NOISE, FirstState, OfLabels
from undiffuse.run.tuned import TUNED, fingerprint, read_tuned
from undiffuse.sampling.grid import GRIDS
from undiffuse.sampling.loop import State, last, trajectory
from undiffuse.sampling.samplers import Sampler, sampler_of, samplers_of
from undiffuse.sampling.sampling import Guidance, Sampling
from undiffuse.sampling.tuned.tableau import Tabled
from undiffuse.step import Step
from undiffuse.step.consistency import Consistency
from undiffuse.step.in_blocks import InBlocks

VALUES = {"cpu": 1 << 17, "cuda": 1 << 22}  # numbers in a batch of states: what fits cache and memory

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Plan(NamedTuple):
    """How to sample: with which sampler, at which times, and with which denoiser, before it gets conditions."""

    sampler: str
    step: Step
    times: tuple[float, ...]
    denoise: Conditional
    evaluations: int  # of the network, for a sample
    weight: float  # the guidance scale; 1 is off

    def describe(self) -> str:
        """What sampling costs, in words."""
        guided = f", each guided by {self.weight:g}" if self.weight != 1 else ""
        return f"{self.sampler} with {len(self.times) - 1} steps, {self.evaluations} network evaluations each{guided}"


class Samples(NamedTuple):
    """What was drawn."""

    x: Tensor  # (count, *shape), as the data is stored, on the CPU
    conditions: Conditions | None  # that were asked for, or drawn too; None of a run without


@dataclass(frozen=True)
class Run:
    """A trained model with everything needed to sample, measure and understand it.

    Attributes:
        folder: Where it lies.
        recipe: How it was trained.
        denoiser: A `Denoiser`; for tables a `MixedDenoiser`, for tokens a `TokenDenoiser`. It has averaged weights and
            is in eval mode.
        codec: Between data and what diffuses.
        specifications: The conditions of the model, by name; empty for a model without conditions.
        columns: Names of the columns of points, where they are known.
        step: How many steps it was trained.
        seconds: How long that took.
        classifier, worse: Other runs that guide it; see `guided_by`.
        default: How it is sampled by default; None means as the recipe says.
        stages: The runs within it, by name; see `undiffuse.run.stages`.
    """

    folder: Path
    recipe: Recipe
    denoiser: Any
    codec: Codec
    specifications: Specifications = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    step: int = 0
    seconds: float = 0.0
    classifier: "Run | None" = None
    worse: "Run | None" = None
    default: Sampling | None = None
    stages: "Mapping[str, Run]" = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (columns,) or (channels, height, width)."""
        return self.codec.shape

    @property
    def kind(self) -> str:
        """``"points"``, ``"pictures"``, ``"tokens"`` or ``"table"``."""
        return self.codec.kind

    @property
    def label_names(self) -> Names:
        """The names of those conditions that are labels; see `undiffuse.condition.label`."""
        return names_of(self.specifications)

    @property
    def is_classifier(self) -> bool:
        """Whether it is a classifier of noisy data, which cannot sample."""
        return self.recipe.is_classifier

    @property
    def is_of_tokens(self) -> bool:
        """Whether what diffuses is tokens: of a text, or of a picture."""
        return bool(self.denoiser.process.discrete)

    @property
    def is_few_step(self) -> bool:
        """Whether it is a flow map, which jumps to the data in one step or a few."""
        return bool(self.denoiser.jumps)

    @property
    def is_bridge(self) -> bool:
        """Whether it starts from data, and so can translate them."""
        return isinstance(self.denoiser.process, Pinned)

    @property
    def most(self) -> int | None:
        """The most evaluations of a sample; None is any number."""
        model = self.recipe.model
        return model.loss.most if isinstance(model, FewSteps | Bridge) else None

    @property
    def scales(self) -> Numbers | None:
        """The guidance scale as a condition, which may always be absent; see `undiffuse.condition.scale`."""
        return self.recipe.scales

    @property
    def is_joint(self) -> bool:
        """Whether it draws pictures together with their labels; see `undiffuse.kind.joint`."""
        return self.codec.draws_label

    @property
    def drawn(self) -> tuple[str, ...]:
        """The conditions that its stages draw, where they are not given."""
        return tuple(stage.name for stage in self.recipe.stages if stage.name in self.specifications)

    def embedded(self, split: str, x: Tensor) -> Tensor:
        """The vectors of pictures x, those of a split of its data, of a run that embeds: computed once, and kept."""
        return kept_vectors(self, split, x)

    @property
    def enlarges(self) -> str | None:
        """The condition that is a picture, of a run that was trained to enlarge pictures."""
        return next((name for name, of in self.specifications.items() if isinstance(of, Picture)), None)

    @cached_property
    def height(self) -> int:
        """How many floors of stages are below it."""
        return height_of(self.stages)

    def noise(self, seed: int, first: int = 0) -> SeededNoise:
        """The noise of samples ``first``, ``first`` + 1, ..., independent of that of its stages."""
        return SeededNoise(seed, first, 2 * self.height)

    @property
    def samplers(self) -> dict[str, Sampler]:
        """What can sample it, by name."""
        return samplers_of(self.denoiser.process, self.denoiser.learned_variance, self.denoiser.jumps)

    @property
    def sampling(self) -> Sampling:
        """How it is sampled, unless told otherwise."""
        if self.default is not None:
            return self.default
        droppable = self.specifications.keys() - pictures_with_noise(self.specifications)
        how, guides = self.recipe.sampling, droppable and self.recipe.training.condition_dropout > 0
        return how if guides else replace(how, guidance=replace(how.guidance, weight=1.0))

    @property
    def steps(self) -> int:
        """How many steps sampling takes, unless told otherwise."""
        return self.sampling.steps or torch.Size(self.codec.latent_shape).numel()

    @property
    def codec_facts(self) -> str | None:
        """What rebuilding its codec needs besides the shape, as JSON; None for most codecs."""
        return self.codec.facts()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.denoiser.parameters()).device

    @property
    def module(self) -> torch.nn.ModuleDict:
        """All that its file holds tensors of."""
        process = torch.nn.ModuleList(modules(self.denoiser.process))  # a learned schedule
        return torch.nn.ModuleDict({"denoiser": self.denoiser, "codec": self.codec, "process": process})

    @property
    def facts(self) -> dict[str, str]:
        """What it is, in words; empty where there is nothing to say."""
        weights, shape = sum(weight.numel() for weight in self.denoiser.parameters()), " x ".join(map(str, self.shape))
        return {
            "data": f"{kebab(type(self.recipe.data).__name__)}, {self.kind} of {shape}",
            "model": f"{kebab(type(self.recipe.model).__name__)}, {weights:,} weights",
            "trained": f"{self.step:,} of {self.recipe.training.steps:,} steps, {self.seconds:,.0f} s",
            "sampled by": "" if self.is_classifier else f"{self.sampling.sampler}, {self.steps} steps",
            "conditions": ", ".join(self.requestable),
        }

    def _repr_html_(self) -> str:
        return run_html(self.folder, self.facts)

    def _repr_png_(self) -> bytes | None:
        picture = latest_picture(self.folder)
        return picture.read_bytes() if picture else None

    def dataset(self, split: str = "train") -> Dataset:
        """What it was trained on, or with ``"test"`` what was held out."""
        for stage in self.recipe.stages:
            require_stage(self, stage.name)
        return told(self.recipe, self.stages, split)

    def sample(
        self,
        count: int,
        conditions: Request = None,
        sampling: Sampling | None = None,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        grid: str | None = None,
        guidance: float | Guidance | None = None,
        seed: int | None = None,
        low_noise: float | None = None,
        given: Told | None = None,
        start: FirstState = PURE_NOISE,
        batch: int | None = None,
        first: int = 0,
        **named: Any,
    ) -> Tensor:
        """Samples number ``first``, ``first`` + 1, ...: (count, *shape), as the data is stored, on the CPU.

        Sample i depends only on the seed and i (up to rounding), not on ``count`` or on the size of a ``batch``. An
        argument that is None takes its value from ``sampling``, whose default is the run's own. ``conditions`` are
        described at `conditions`; each may also be a keyword argument: label="3", age=30. ``guidance`` is a guidance
        scale or a `Guidance`. Entries in ``given`` come back unchanged, and the rest is drawn; or it
        is what is seen of the samples (`undiffuse.run.inverse`). Drawing may ``start`` from data or from kept noise
        instead of new noise (`undiffuse.run.start`).

        Raises:
            UserError: A count below 1; given entries of data that diffuses as a latent; an unknown sampler, grid or
                condition; conditions or guidance for a model without conditions.
        """
        how = (sampling or self.sampling).override(sampler, steps, grid, guidance, seed, low_noise)
        return self.draw(count, self.request(conditions, named), how, given, start, batch, first).x

    def draw(
        self,
        count: int,
        conditions: Request = None,
        sampling: Sampling | None = None,
        given: Told | None = None,
        start: FirstState = PURE_NOISE,
        batch: int | None = None,
        first: int = 0,
    ) -> Samples:
        """As `sample`, but also returns the conditions that were asked for or drawn with the samples."""
        how = sampling or self.sampling
        plan, asked = self.plan(how, start), self.conditions(count, conditions, first)
        wanted = completed(self, asked, count, first, how)

        def made(rows: range) -> Tensor:
            chosen = None if wanted is None else wanted[rows.start : rows.stop]
            numbers = range(first + rows.start, first + rows.stop)
            known = None if given is None else given.take(numbers)
            return last(self._states(plan, len(rows), chosen, how.seed, numbers.start, known, start.take(numbers)))

        batch = self.batch if batch is None else _at_least(1, "batch", batch)
        z = in_batches(count, batch, made, self.blank(0))
        if z.is_floating_point() and not z.isfinite().all():
            raise UserError(f"{self.folder}: its samples are not finite: ask for less guidance, or train it anew")
        parts = z.to(self.device).split(self.batch)
        x = torch.cat([self.codec.decode(part).cpu() for part in parts])
        if given is not None:
            x = given.take(range(first, first + count)).put_back(x)
        drawn = [label.cpu() for label in map(self.codec.label, parts) if label is not None]
        return Samples(x, conditions_of(torch.cat(drawn), self.label_names) if drawn else without_drawn(self, asked))

    def blank(self, count: int) -> Tensor:
        """States yet to be drawn, (count, *latent_shape)."""
        return self.denoiser.process.blank(count, self.codec.latent_shape, self.device)

    def trajectory(
        self,
        count: int,
        conditions: Request = None,
        sampling: Sampling | None = None,
        first: int = 0,
        given: Told | None = None,
        start: FirstState = PURE_NOISE,
    ) -> Iterator[tuple[Tensor, float]]:
        """Every state on the way, as (decoded x, t): noise first, at the end the samples that ``sample`` returns.

        States are rescaled to the standard deviation of the data before they are decoded, so that noise looks like
        noise under every schedule. Raises UserError as ``sample`` does.
        """
        how = sampling or self.sampling
        plan, numbers = self.plan(how, start), range(first, first + count)
        wanted = completed(self, self.conditions(count, conditions, first), count, first, how)
        known = None if given is None else given.take(numbers)
        states = self._states(plan, count, wanted, how.seed, first, known, start.take(numbers))
        for x, t in states:
            yield self.codec.decode(self.denoiser.process.shown(x, t)).cpu(), t

    @usage()
    def conditions(self, count: int, conditions: Request = None, first: int = 0, **named: Any) -> Conditions | None:
        """What samples ``first``, ``first`` + 1, ... are asked to be; None for a model without conditions.

        ``conditions`` are values by name, {"label": "3", "age": 30}, or a list of such rows, which samples take in turn
        (see `undiffuse.condition.read`); ``named`` adds further names. If a label is left out, samples take its values
        in turn, unless the run draws it itself; other conditions are absent. If a classifier guides a run without
        conditions, the conditions are those of the classifier.

        Raises:
            UserError: A count below 1; an unknown condition or label (naming the nearest); a value that does not fit
                its condition; an absent condition that the model was never trained without.
        """
        _at_least(1, "count", count)
        require(16 * count, f"the conditions of {count:,} samples")
        if first < 0:
            raise UserError(f"samples are counted from 0, not from {first}")
        rows = self.request(conditions, named)
        nothing = not rows and not isinstance(rows, Conditions)
        others = any(not isinstance(one, Labels) for name, one in self.requestable.items() if name not in self._free)
        absent = self.is_joint or (nothing and others and self.recipe.training.each_dropout == 0)
        if isinstance(rows, Conditions):
            rows = with_undrawn(self, with_none(rows) if self.scales else rows)
        wanted = read(self.requestable, rows, all_labels=not absent)
        if wanted is None:
            return None
        if self.specifications:
            self._check_absent(wanted)
        return wanted[torch.arange(first, first + count) % len(wanted)]

    def typical(self, count: int, seed: int = 0, data: Dataset | None = None) -> Conditions | None:
        """The conditions of ``count`` random rows of its ``data``; None for a model without conditions.

        Of other data than it was trained on, those that go by the same name, in words: captions, for a model of text. A
        model of labels alone, whose data is elsewhere, takes its labels in turn.
        """
        if not self.specifications:
            return None
        labels_alone = all(isinstance(one, Labels) for one in self.specifications.values())
        if data is None and isinstance(self.recipe.data, Elsewhere) and labels_alone:
            return self.conditions(count)
        data = data or self.dataset()
        drawn = random_conditions(data, count, seed, self.drawn)
        if drawn is None or self.knows(data):
            return drawn
        shared = [name for name in data.specifications if name in self.specifications]
        columns = [data.specifications[name].written(drawn.entries[name]).tolist() for name in shared]
        return self.conditions(count, [dict(zip(shared, row, strict=True)) for row in zip(*columns, strict=True)])

    def knows(self, data: Dataset) -> bool:
        """Whether the data has its conditions: of the same names, kinds and words."""

        def what(of: Specification) -> object:
            return type(of), of.shape, getattr(of, "names", ()), getattr(of, "reader", None)

        mine = {name: what(of) for name, of in self.specifications.items() if name != NAME}
        return mine == {name: what(of) for name, of in data.specifications.items() if name != NAME}

    def labels(self, count: int, conditions: Request = None, first: int = 0, **named: Any) -> Tensor | None:
        """Those `conditions` that are labels: (count,), or (count, attributes); see `undiffuse.condition.label`."""
        return labels_of(self.conditions(count, conditions, first, **named), self.requestable)

    @property
    def requestable(self) -> Specifications:
        """The conditions that may be asked for: the run's own or, if it has none, those of the classifier that guides
        it."""
        return self.specifications or (self.classifier.specifications if self.classifier else {})

    @usage()
    def request(self, conditions: Request, named: dict[str, Any]) -> Request:
        """Conditions in words, with further ones added.

        The name label stands for all conditions that are labels, and text for the one that is a text.
        """
        named = {name: value for name, value in named.items() if value is not None}
        if "text" in named and "text" not in self.requestable:
            named[name_of_text(self.requestable)] = named.pop("text")
        if "label" in named:
            conditions = with_label(self.requestable, conditions, named.pop("label"))
        return with_more(conditions, named) if named else conditions

    @property
    def _free(self) -> tuple[str, ...]:
        """Conditions that may be absent however the model was trained: those that it or a stage draws, and the guidance
        scale."""
        return (*getattr(self.denoiser, "drawn", ()), *self.drawn, *([NAME] if self.scales else []))

    def _check_absent(self, wanted: Conditions) -> None:
        """Whether the model was trained without the conditions that are absent."""
        chosen = wanted.only(*(name for name in wanted.entries if name not in self._free))
        if chosen is None:
            return
        absent = ~torch.stack([entry.present for entry in chosen.entries.values()], 1)
        names = ", ".join(name for name, column in zip(chosen.entries, absent.unbind(1), strict=True) if column.any())
        if absent.all(1).any() and self.recipe.training.condition_dropout == 0:
            raise UserError(f"none for all conditions needs a model trained with --label-dropout above 0; give {names}")
        if (absent.any(1) & ~absent.all(1)).any() and self.recipe.training.each_dropout == 0:
            needs = "needs a model trained with --attribute-dropout above 0"
            raise UserError(f"none for some conditions {needs}; give {names}")

    @usage()
    def plan(self, sampling: Sampling | None = None, start: FirstState = PURE_NOISE) -> Plan:
        """How it is sampled, checked before anything is drawn. Raises UserError as ``sample`` does."""
        if self.is_classifier:
            raise UserError(
                "this run is a classifier, which samples nothing; guide another run by it: --classifier RUN"
            )
        if not self.recipe.samples:
            raise UserError(f"this run tells which texts and pictures belong together, and samples nothing: {EMBEDS}")
        how, process = sampling or self.sampling, self.denoiser.process
        check_level(self.specifications, how.low_noise)
        chosen = sampler_of(process, how.sampler, self.denoiser.learned_variance, self.denoiser.jumps)
        count = how.steps or torch.Size(self.codec.latent_shape).numel()
        if self.most is not None and count > self.most:
            raise UserError(f"this model was trained for at most {self.most} evaluations a sample, not {count}")
        if how.grid == TUNED:
            return self._tuned(how, count, start)
        grid = _known(GRIDS, how.grid, "grid", TUNED) if how.grid else chosen.grid
        if self.is_of_tokens and self.denoiser.block is not None:  # so many for all blocks together
            count = max(1, round(count * self.denoiser.block / self.shape[0]))
        times = start.times(process, grid(process.schedule, count))
        of_belief = chosen.learned_variance or chosen.of_belief
        denoise: Conditional = self.in_half(self.denoiser.belief if of_belief else self.denoiser.__call__)
        guide = guided(denoise, self, how.guidance)
        weight = weight_for(self, how.guidance)
        step, evaluations = chosen.make(process), chosen.evaluations(len(times) - 1)
        if self.is_of_tokens and self.denoiser.block is not None:
            step = InBlocks(step, times, self.denoiser.block, self.shape[0])
            times, evaluations = step.times, evaluations * (self.shape[0] // step.block)
        return Plan(how.sampler, step, times, guide, evaluations, weight)

    def _tuned(self, how: Sampling, count: int, start: FirstState) -> Plan:
        """With the run's own sampler, whichever else is named."""
        weight = weight_for(self, how.guidance)
        tableau = read_tuned(self.folder, self.fingerprint).of(self.folder, count, weight)
        if start.times(self.denoiser.process, tableau.grid) != tableau.grid:
            raise UserError("a tuned grid was fitted from noise to data, all of it; choose another --grid")
        denoise = guided(self.in_half(self.denoiser.__call__), self, how.guidance)
        return Plan(TUNED, Tabled(self.denoiser.process, tableau), tableau.grid, denoise, count, weight)

    @cached_property
    def fingerprint(self) -> str:
        """What tells its weights from others."""
        return fingerprint(self.module.state_dict())

    def guided_by(self, classifier: "Run | None" = None, worse: "Run | None" = None) -> "Run":
        """The same run, guided by a classifier of its noisy data, or away from a worse run: smaller, or trained less.

        The default guidance scale is 2. Raises UserError if the other run has other data, another process or other
        conditions.
        """
        if classifier is None and worse is None:
            return self
        unguided = replace(self.sampling, guidance=Guidance())
        run = replace(self, classifier=classifier, worse=worse, default=unguided)
        with usage():
            check_guides(run)
        return run

    def measured_on(self, data: Source) -> "Run":
        """The same run, with other data in the place of what it was trained on.

        Raises UserError for data of another kind, or that cannot be read to this shape.
        """
        source: Source = data
        try:
            source = data.shaped(self.shape) if isinstance(data, Files | Hub) else data
            opened = source.open("test")
        except UserError:  # of an array, which has its own shape
            source = data
            opened = source.open("test")
        if (opened.kind, opened.shape) != (self.kind, self.shape):
            raise UserError(
                f"--data: {opened.kind} of shape {opened.shape}, and this run makes {self.kind} of shape {self.shape}"
            )
        return replace(self, recipe=replace(self.recipe, data=source))

    def in_half(self, denoise: F) -> F:
        """The denoiser, computing in half precision if the recipe does."""
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.training.precision == "bf16")
        return cast(F, half(denoise))

    def _states(
        self,
        plan: Plan,
        count: int,
        wanted: Conditions | None,
        seed: int,
        first: int,
        given: Told | None = None,
        start: FirstState = PURE_NOISE,
    ) -> Iterator[State]:
        chosen = None if wanted is None else wanted.to(self.device)
        noise, process = self.noise(seed, first), self.denoiser.process
        drawing = Drawing(process, self.codec, plan.step, plan.denoise, noise, self.device)
        if given is not None:
            self._check_known(plan)
            drawing = given.heeded(drawing)
        start = self._start_of(chosen) if start is PURE_NOISE else start
        x = drawing.first(start.state(process, self.codec, self.blank(count), plan.times[0], noise))
        chosen = self.denoiser.told(x, chosen) if self.is_bridge else chosen
        return trajectory(drawing.step, partial(drawing.denoise, conditions=chosen), x, plan.times, noise)

    def _start_of(self, wanted: Conditions | None) -> FirstState:
        """Where samples start by themselves: of a bridge that labels go across, from rows of the wanted labels."""
        rows = getattr(self.denoiser.process, "z", None)
        labels, _ = combined(labels_of(wanted, self.specifications), self.label_names)
        return PURE_NOISE if labels is None or not isinstance(rows, StoredRows) else OfLabels(rows, labels)

    @usage()
    def _check_known(self, plan: Plan) -> None:
        """Whether what is known can be kept on the way: of a model of few steps, only where noise is added anew."""
        if self.is_few_step and not (isinstance(plan.step, Consistency) and len(plan.times) > 2):
            among = f"--sampler consistency --steps {8 if self.most is None else self.most}"
            instead = among if "consistency" in self.denoiser.jumps else "its teacher"
            raise UserError(f"{plan.describe()}: too few to draw the rest of what is known; use {instead}")

    @property
    def batch(self) -> int:
        """How many samples are computed at once, unless told otherwise."""
        size = torch.Size(self.shape).numel()
        return max(1, VALUES.get(self.device.type, VALUES["cuda"]) // (size * self.denoiser.process.width))


def _at_least(least: int, name: str, value: int) -> int:
    if value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")
    return value


def _known(table: dict[str, T], name: str, what: str, *others: str) -> T:
    if name not in table:
        raise UserError(nearest(name, [*table, *others], what))
    return table[name]
