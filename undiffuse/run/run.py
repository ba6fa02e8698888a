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
from undiffuse.condition.low import pictures_with_noise
from undiffuse.condition.read import Request
from undiffuse.condition.specification import Numbers, Picture, Specifications
from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError, usage
from undiffuse.core.modules import modules
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.data.dataset import Dataset
from undiffuse.data.source import Restored
from undiffuse.data.task import SuperResolution, Task, left_of
from undiffuse.process.pinned import Pinned, StoredRows
from undiffuse.recipe.model import Bridge, FewSteps
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.asked import asked_of, with_named
from undiffuse.run.embed import kept_vectors
from undiffuse.run.given import Drawing, Told
from undiffuse.run.guidance import check_guides
from undiffuse.run.plan import Plan, plan_of
from undiffuse.run.shown import latest_picture, run_html
from undiffuse.run.stages import completed, height_of, require_stage, told, without_drawn
from undiffuse.run.start import PURE_NOISE, FirstState, OfLabels
from undiffuse.run.tuned import fingerprint
from undiffuse.sampling.loop import State, last, trajectory
from undiffuse.sampling.samplers import Sampler, samplers_of
from undiffuse.sampling.sampling import Guidance, Sampling
from undiffuse.step.consistency import Consistency

VALUES = {"cpu": 1 << 17, "cuda": 1 << 22}  # numbers in a batch of states: what fits cache and memory

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


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
        if self.task is not None and not isinstance(self.task, SuperResolution):
            return None
        return next((name for name, of in self.specifications.items() if isinstance(of, Picture)), None)

    @property
    def task(self) -> Task | None:
        """What it restores pictures from, of a run that was trained for that."""
        return self.recipe.data.task if isinstance(self.recipe.data, Restored) else None

    def left_of(self, x: Tensor, seed: int = 0) -> dict[str, Tensor]:
        """What its task leaves of pictures x (count, *shape), as the data is stored, by the name of the condition."""
        assert self.task is not None
        return {self.task.condition: left_of(self.task, x, SeededNoise(seed))}

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
            "sampled by": "" if not self.recipe.samples else f"{self.sampling.sampler}, {self.steps} steps",
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

        if batch is not None and batch < 1:
            raise UserError(f"batch must be at least 1, not {batch}")
        z = in_batches(count, batch or self.batch, made, self.blank(0))
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
        return asked_of(self, count, self.request(conditions, named), first)

    @usage()
    def request(self, conditions: Request, named: dict[str, Any]) -> Request:
        """Conditions in words, with further ones added.

        The name label stands for all conditions that are labels, and text for the one that is a text.
        """
        return with_named(self, conditions, named)

    def labels(self, count: int, conditions: Request = None, first: int = 0, **named: Any) -> Tensor | None:
        """Those `conditions` that are labels: (count,), or (count, attributes); see `undiffuse.condition.label`."""
        return labels_of(self.conditions(count, conditions, first, **named), self.requestable)

    @property
    def requestable(self) -> Specifications:
        """The conditions that may be asked for: the run's own or, if it has none, those of the classifier that guides
        it."""
        return self.specifications or (self.classifier.specifications if self.classifier else {})

    @usage()
    def plan(self, sampling: Sampling | None = None, start: FirstState = PURE_NOISE) -> Plan:
        """How it is sampled, checked before anything is drawn. Raises UserError as ``sample`` does."""
        return plan_of(self, sampling or self.sampling, start)

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
        drawing = drawing._replace(step=start.step(drawing.step, self.blank(0)))
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
