"""The folder of a run, read and written.

recipe.yaml         the whole truth of the training
model.safetensors   what sampling uses: averaged weights, the codec, what the data looked like
state/              what resuming needs          (`undiffuse.train.state`)
log.jsonl  tensorboard/  pictures/               (`undiffuse.train.log`)
tuned.json          samplers of its own          (`undiffuse.run.tuned`)
evaluation.json     what was measured last       (`undiffuse.evaluate.kept`)
stages/             runs within it               (`undiffuse.run.stages`)
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from undiffuse.condition.label import Names, specifications_of
from undiffuse.condition.renamed import is_old, renamed
from undiffuse.condition.specification import Specification
from undiffuse.core.configuration import from_texts, to_texts
from undiffuse.core.errors import UserError, caution, nearest
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.core.memory import within_file
from undiffuse.core.paths import path_of
from undiffuse.data.dataset import form_of
from undiffuse.pipeline.parts import is_pipeline
from undiffuse.pipeline.single_file import check_folder
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.pipeline import of_pipeline
from undiffuse.run.run import Run
from undiffuse.run.stages import STAGES

FORMAT = "undiffuse 1"
RECIPE, MODEL, STATE = "recipe.yaml", "model.safetensors", "state"
NUMBERS = 1 << 27  # in one sample: a codec is made of that shape before its tensors are compared


@dataclass(frozen=True)
class Facts:
    """The metadata of ``model.safetensors``. Raises UserError if no run can have it."""

    kind: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    step: int
    seconds: float
    codec: str | None = None  # JSON of the codec's own
    conditions: dict[str, Specification] | None = None
    label_names: Names = ()  # of older files, instead

    def __post_init__(self) -> None:
        if min(self.shape, default=0) < 1 or math.prod(self.shape) > NUMBERS:
            raise UserError(f"a shape is whole numbers from 1, and a sample at most {NUMBERS:,} numbers: {self.shape}")
        object.__setattr__(self, "kind", {"tokens": "text"}.get(self.kind, self.kind))  # as older files have it
        form = form_of(self.kind)
        if form.dimensions and len(self.shape) != form.dimensions - 1:
            raise UserError(f"{self.kind} have no shape {self.shape}")
        if self.columns and len(self.columns) != self.shape[0]:
            raise UserError(f"{len(self.columns)} names of columns for {self.shape[0]} columns")
        if self.step < 0 or not 0 <= self.seconds < math.inf:
            raise UserError(f"nothing is trained {self.step} steps in {self.seconds} seconds")

    @property
    def specifications(self) -> dict[str, Specification]:
        """What its conditions are."""
        return specifications_of(self.label_names) if self.conditions is None else self.conditions


def load(folder: str | Path, device: str | torch.device | None = None) -> Run:
    """Open the run in a folder, on the accelerator if there is one; or a pipeline of diffusers.

    Raises:
        UserError: The folder does not exist, holds no run or no trained model yet, or the model is truncated or of
            another recipe.
    """
    folder = path_of(folder)
    if is_pipeline(folder):
        return of_pipeline(folder, torch.device(device or _best_device()))
    check_folder(folder)
    recipe = read_recipe(folder)
    path = folder / MODEL
    if not path.is_file():
        raise UserError(f"{folder}: holds no trained model yet; go on with: undiffuse resume {folder}")
    tensors, texts = read_tensors(path)
    if texts.get("format") != FORMAT:
        raise UserError(f"{path}: not a model of undiffuse ({texts.get('format', 'no format given')})")
    facts = from_texts(Facts, texts, str(path))
    try:
        with torch.random.fork_rng(devices=[]), within_file(sum(tensor.nbytes for tensor in tensors.values())):
            codec = recipe.codec.build(facts.kind, facts.shape, facts.codec)
            denoiser = recipe.denoiser(codec.latent_shape, facts.specifications)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    stages = {stage.name: load(inner, device) for stage in recipe.stages if (inner := stage_of(folder, stage.name))}
    run = Run(
        folder, recipe, denoiser, codec, facts.specifications, facts.columns, facts.step, facts.seconds, stages=stages
    )
    if is_old(tensors):
        caution(f"{path}: written before conditions had an encoder; its tensors are renamed as it is opened")
        names = run.label_names
        sizes = tuple(map(len, names.values())) if isinstance(names, dict) else ()
        tensors = renamed(tensors, recipe.is_classifier, sizes)
    try:
        run.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path}: not of this recipe ({' '.join(str(error).split())[:150]})") from None
    run.module.to(device or _best_device()).eval().requires_grad_(False)
    return run


def stage_of(folder: Path, name: str) -> Path | None:
    """The folder of a stage within a run; None as long as it has no model."""
    inner = folder / STAGES / name
    return inner if (inner / MODEL).is_file() else None


def save_model(run: Run) -> None:
    """Write ``model.safetensors`` into the run's folder, whole or not at all."""
    specifications, seconds = dict(run.specifications), round(run.seconds, 3)
    facts = Facts(run.kind, run.shape, run.columns, run.step, seconds, run.codec_facts, specifications)
    write_tensors(run.folder / MODEL, run.module.state_dict(), {"format": FORMAT} | to_texts(facts))


def read_recipe(folder: Path) -> Recipe:
    """The recipe of a run. Raises UserError if there is no run, and names runs nearby."""
    if not folder.is_dir():
        beside = sorted(path.parent.name for path in folder.parent.glob(f"*/{RECIPE}"))
        raise UserError(nearest(folder.name, beside, "run") if beside else f"{folder}: no such folder")
    if not (folder / RECIPE).is_file():
        raise UserError(
            f"{folder}: not a run, it holds no {RECIPE}; make one with: undiffuse train RECIPE --out FOLDER"
        )
    return Recipe.load(folder / RECIPE)


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator() or torch.device("cpu")
