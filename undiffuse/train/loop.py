"""Training, from a recipe to a run: steps, a log, reports, and states to go on from.

    train(recipe, folder)           in a folder of its own
    resume(folder)                  from the last saved state, however the run ended
    resume(folder, steps=20_000)    longer than was asked for

A run that is stopped, killed or cut off by a full disk continues bit for bit: N steps equal k steps, kill -9, N - k
steps.
"""

import copy
import shutil
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from undiffuse.codec import TRAINED_FIRST, VAE, VQ, Codec, Pretrained
from undiffuse.codec.vae import Fit, precomputed
from undiffuse.condition.renamed import renamed
from undiffuse.core.errors import UserError, caution
from undiffuse.core.files import copy_folder, copy_whole, disk_errors_told, read_tensors, write_tensors
from undiffuse.core.half import half_is_fast
from undiffuse.core.on_disk import checksum
from undiffuse.core.paths import path_of
from undiffuse.data.dataset import Dataset
from undiffuse.data.source import Between
from undiffuse.loss.few_step import Teacher
from undiffuse.recipe.model import Bridge, FewSteps
from undiffuse.recipe.recipe import Recipe, Stage
from undiffuse.run.folder import MODEL, RECIPE, STATE, load, read_recipe
from undiffuse.run.guidance import teaching
from undiffuse.run.run import Run
from undiffuse.run.stages import STAGES, check_plan, shares, told
from undiffuse.train.bridging import Bridging, bridging
from undiffuse.train.fine_tune import begin_with, check_fits
from undiffuse.train.following import NOT_FOLLOWED, Following
from undiffuse.train.length import Clock, check_any_length, longer
from undiffuse.train.lock import alone
from undiffuse.train.objective import Autoencoding, Objective, denoising
from undiffuse.train.product import Coded, Model, Product
from undiffuse.train.profile import Profile
from undiffuse.train.recorder import Due, Recorder
from undiffuse.train.state import Facts, load_state, seconds_of
from undiffuse.train.stop import Stop
from undiffuse.train.texts import compute_texts
from undiffuse.train.threads import threads_for
from undiffuse.train.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator


TEACHER = "teacher"  # in a run's folder, the run that it is distilled from, while it is
INIT = "init"  # in a run's folder, the run whose weights it began with
CODEC = "codec"  # in a run's folder, where its codec is trained
HELD = "codec."  # in a model's file, what the names of the codec's tensors begin with


def train(
    recipe: Recipe,
    folder: str | Path,
    quiet: bool = False,
    teacher: Run | None = None,
    clock: Clock | None = None,
    init: Run | None = None,
    following: Following = NOT_FOLLOWED,
) -> Run:
    """Train in a new folder, and open the run. A ``teacher`` is copied into it until the training is done; a run to
    begin with, ``init``, stays there, for its codec (see `undiffuse.train.fine_tune`). The stages of the recipe are
    trained first, in folders of their own (`undiffuse.run.stages`).

    With a ``clock``, the number of steps is changed on the way, in the folder's recipe too, so that the training ends
    when the clock has run down; see `undiffuse.train.length`.

    Raises:
        UserError: The folder is not empty; the data, or the network for it, is not valid; the loss diverged; the disk
            is full. In the last two cases the last good state is on disk.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved, and the message says how to resume.
    """
    folder = new_folder(folder)
    if clock:
        check_any_length(recipe)
    return _run(recipe, folder, quiet, teacher, clock, init, following)


def new_folder(folder: str | Path) -> Path:
    """Where a new run may lie. Raises UserError if something lies there."""
    folder = path_of(folder)
    if (folder / RECIPE).exists():
        raise UserError(f"{folder} is a run already; go on with: undiffuse resume {folder}, or choose another --out")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and is no run; choose another --out")
    return folder


def resume(
    folder: str | Path,
    quiet: bool = False,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    following: Following = NOT_FOLLOWED,
) -> Run:
    """Resume the run in a folder: to the end, to other ``steps`` in all, or for so many ``minutes`` more.

    The learning rate then falls over the new number of steps. Where it is constant, a training of k steps that goes on
    to N is one of N steps, bit for bit.

    Raises as ``train`` does, and UserError if there is no run, or if it cannot be made longer; see
    `undiffuse.train.length.longer`.
    """
    folder = path_of(folder)
    clock = None if minutes is None else Clock(minutes)
    recipe = read_recipe(folder)
    if _lacks_teacher(recipe, folder):
        run = load(folder)  # or there is no model yet, which it says
        if run.step < (steps or recipe.training.steps) or clock:
            raise UserError(f"{folder / TEACHER}: the teacher is gone, and the training is not done; distill anew")
        caution(f"{folder} is distilled already, and its teacher is not kept; nothing was done")
        return run
    if (folder / MODEL).is_file() and not (folder / STATE).is_dir():  # it was copied, or pulled: its weights are kept
        more = f"undiffuse train DATA --init {folder}"
        raise UserError(f"{folder}: a model without the state of its training; go on from its weights with: {more}")
    return _run(longer(recipe, folder, steps, clock), folder, quiet, clock=clock, following=following)


def _lacks_teacher(recipe: Recipe, folder: Path) -> bool:
    """Whether a training that needs a teacher has none: because it is done."""
    return isinstance(recipe.model, FewSteps) and recipe.model.loss.taught and not (folder / TEACHER).is_dir()


def _run(
    recipe: Recipe,
    folder: Path,
    quiet: bool,
    teacher: Run | None = None,
    clock: Clock | None = None,
    init: Run | None = None,
    following: Following = NOT_FOLLOWED,
    whole: Path | None = None,
) -> Run:
    """``whole`` is the folder of the run of which this one is a stage."""
    from accelerate import Accelerator

    accelerator = Accelerator(log_with=following.others or None, project_dir=folder)
    device, main = accelerator.device, accelerator.is_main_process
    stages = _stages(recipe, folder, quiet, accelerator, whole or folder, teacher or init, clock)
    data = told(recipe, stages, "train")
    facts: Facts = {"rows": len(data), "shape": data.shape, "data crc32": checksum(data.x)}
    if data.start:
        facts |= {"rows of the start": len(data.start), "start crc32": checksum(data.start.x)}
    with (
        torch.random.fork_rng([device] if device.type != "cpu" else [], device_type=device.type),
        disk_errors_told(folder),
        threads_for(torch.Size(data.shape), folder / STATE),
        ExitStack() as held,
    ):
        torch.manual_seed(recipe.training.seed)
        if teacher is None and (folder / TEACHER).is_dir():
            teacher = load(folder / TEACHER, device)
        if init is None and (folder / INIT).is_dir():
            init = load(folder / INIT, device)
        before = teacher or init
        codec = before.codec if before else _measured(recipe, data, folder, device)
        taught = _taught_by(teacher, recipe) if teacher else None
        objective = objective_of(recipe, codec, data, taught)  # before anything is written
        if init:
            _begin(objective, recipe, data, init, said=not (folder / STATE).exists())
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(folder))
            if teacher and not (folder / TEACHER).exists():
                copy_whole(teacher.folder, folder / TEACHER, (RECIPE, MODEL))
            if init and not (folder / INIT).exists():
                copy_whole(init.folder, folder / INIT, (RECIPE, MODEL))
            recipe.save(folder / RECIPE)
        if before is None and isinstance(recipe.codec, TRAINED_FIRST):
            codec = _fitted(recipe, codec, recipe.codec.fit, data, accelerator, folder, facts, quiet)
        objective.codec.load_state_dict(codec.state_dict())
        compute_texts(objective.model, data.conditions, folder, main)
        if recipe.training.precision == "bf16" and not half_is_fast(device):
            caution("this processor imitates bf16, two to four times slower than fp32; --precision fp32 is faster here")
        rows = looked(cast(VAE | VQ, codec.to(device)), data) if codec.encoded_once else data
        trainer = Trainer(recipe, rows, accelerator, objective)
        product = partial(Model, trainer, recipe, folder, data, stages, following.preview)
        _train(trainer, folder, whole or folder, product, facts, quiet, clock, following)
        if main and teacher:  # all that is kept of it is what the student learned
            shutil.rmtree((folder / TEACHER).rename(folder / f".{TEACHER}.part"))
    accelerator.wait_for_everyone()
    return load(folder, device)


def _stages(
    recipe: Recipe,
    folder: Path,
    quiet: bool,
    accelerator: "Accelerator",
    whole: Path,
    before: Run | None,
    clock: Clock | None,
) -> dict[str, Run]:
    """The stages of a recipe, trained within its folder as far as they are not; those of ``before`` are copied."""
    if recipe.stages and not (folder / STAGES).exists():
        check_plan(recipe)
    if recipe.stages and accelerator.is_main_process:
        (folder / STAGES).mkdir(parents=True, exist_ok=True)
        recipe.save(folder / RECIPE)
        for name, stage in before.stages.items() if before else ():
            if not (folder / STAGES / name).exists():
                copy_folder(stage.folder, folder / STAGES / name)
    accelerator.wait_for_everyone()
    return {
        stage.name: _stage(stage, folder / STAGES / stage.name, quiet, whole, clock.part(share) if clock else None)
        for stage, share in shares(recipe)
    }


def _stage(stage: Stage, folder: Path, quiet: bool, whole: Path, clock: Clock | None) -> Run:
    recipe = read_recipe(folder) if (folder / RECIPE).is_file() else stage.recipe
    if (folder / MODEL).is_file() and (run := load(folder)).step >= recipe.training.steps:
        return run
    return _run(recipe, folder, quiet, whole=whole, clock=clock)


def _begin(objective: Objective | Bridging, recipe: Recipe, data: Dataset, init: Run, said: bool) -> None:
    """Give the denoiser the weights of a run, and say what begins new."""
    check_fits(init, data)
    lines = begin_with(objective.denoiser, recipe, data, init)
    if said and lines:
        caution(f"begins with {init.folder}; " + "; ".join(lines))


def _taught_by(run: Run, recipe: Recipe) -> Teacher:
    """A run as the teacher of what a recipe trains."""
    scales = recipe.model.distilled_guidance if isinstance(recipe.model, FewSteps) else ()
    denoise = teaching(run.in_half(run.denoiser.__call__), run, run.sampling.guidance, scales)
    return Teacher(denoise, run.denoiser.process, run.denoiser)


def objective_of(recipe: Recipe, codec: Codec, data: Dataset, teacher: Teacher | None = None) -> Objective | Bridging:
    """What the recipe minimises. Raises UserError where its parts do not go together."""
    if isinstance(recipe.model, Bridge):
        return bridging(recipe, codec, data)
    if isinstance(recipe.data, Between):
        raise UserError("data between two ends is for a bridge: --model bridge")
    return denoising(recipe, codec, data, teacher)


def _measured(recipe: Recipe, data: Dataset, folder: Path, device: torch.device) -> Codec:
    """The codec that training begins with. A pretrained one is slow to measure: this is done once a run, on the
    device."""
    if not isinstance(recipe.codec, Pretrained):
        return recipe.codec.measure(data)
    try:
        held = read_tensors(folder / MODEL)[0].items()
    except UserError:  # not written yet, or lost
        return recipe.codec.measure(data, device)
    codec = recipe.codec.build(data.kind, data.shape)
    codec.load_state_dict({name.removeprefix(HELD): value for name, value in held if name.startswith(HELD)})
    return codec.eval()


def _fitted(
    recipe: Recipe,
    codec: Any,
    fit: Fit,
    data: Dataset,
    accelerator: "Accelerator",
    run: Path,
    facts: Facts,
    quiet: bool,
) -> VAE | VQ:
    """The codec, trained in a subfolder of the run, with its latents measured; or loaded, if it is there already."""
    folder = run / CODEC
    if not (folder / MODEL).is_file():
        recipe = recipe.changed(steps=fit.steps, batch=fit.batch, lr=fit.lr)
        objective = Autoencoding(copy.deepcopy(codec), fit, recipe.training.precision == "bf16")
        trainer = Trainer(recipe, data, accelerator, objective)
        if accelerator.is_main_process:
            folder.mkdir(exist_ok=True)
        _train(trainer, folder, run, lambda: Coded(trainer, recipe, folder), facts, quiet)
        tensors = trainer.tensors()
        if accelerator.is_main_process:
            trained: VAE | VQ = trainer.averaged(tensors)
            trained.measure_latents(data.x)
            write_tensors(folder / MODEL, trained.state_dict())
        accelerator.wait_for_everyone()
    codec.load_state_dict(read_tensors(folder / MODEL)[0])
    return codec.eval().requires_grad_(False)


def looked(codec: VAE | VQ, data: Dataset) -> Dataset:
    """What the codec precomputes for all rows, once, and their conditions."""
    return Dataset(precomputed(codec, data.x), data.conditions, data.specifications, kind="latents", name=data.name)


def _train(
    trainer: Trainer,
    folder: Path,
    run: Path,
    product: Callable[[], Product],
    facts: Facts,
    quiet: bool,
    clock: Clock | None = None,
    following: Following = NOT_FOLLOWED,
) -> None:
    """Take all remaining steps, in ``folder``; ``run`` is the folder that the user resumes."""
    accelerator = trainer.accelerator
    accelerator.wait_for_everyone()
    seconds = _restore(trainer, folder, facts)
    main = accelerator.is_main_process
    with (
        Stop() as stop,
        following.tracked(accelerator, trainer.recipe, run) as trackers,
        Recorder(trainer, folder, product(), facts, seconds, quiet, trackers) if main else nullcontext() as recorder,
        Profile(folder, trainer.device) if main and following.profile else nullcontext() as profile,
    ):
        if trainer.done == 0:
            tensors = trainer.tensors()
            if recorder:
                recorder.save_state(tensors)
        if clock:
            clock.begin(trainer.done)
        while trainer.done < (planned := trainer.recipe.training.steps):
            trainer.step()
            stopping = _agreed(accelerator, stop.requested) > 0
            steps = planned
            if clock:
                steps = _agreed(accelerator, clock.steps(trainer.done, planned, recorder.ending) if recorder else 0)
            due = Due.after(trainer.done, trainer.recipe.training, stopping or steps != planned)
            tensors = trainer.tensors() if due.report or due.save else {}
            if recorder:
                recorder.after_step(due, tensors)
                recorder.say(profile.step() if profile else "")
            if due.report and _agreed(accelerator, bool(recorder and recorder.enough)):
                steps = trainer.done
            if steps != planned and trainer.done < planned:
                trainer.recipe = trainer.recipe.changed(steps=steps)  # after its state is saved, with which it agrees
                if recorder:
                    recorder.planned_anew()
            if stopping and (trainer.done < steps or folder != run):
                accelerator.wait_for_everyone()  # a launcher ends those that are left, and one may still be writing
                saved = f"stopped, and saved after step {trainer.done:,}"
                raise KeyboardInterrupt(f"{saved}; go on with: undiffuse resume {run}")


def _restore(trainer: Trainer, folder: Path, facts: Facts) -> float:
    """Load the newest state on disk into the trainer, if there is one; returns the seconds of training until then."""
    state = load_state(folder / STATE)
    if state is None:
        return 0.0
    changed = [name for name, value in facts.items() if state.facts.get(name) != value]
    if changed:
        raise UserError(f"{folder}: the data is not what this run was trained on ({changed[0]} differs); train anew")
    seconds = seconds_of(state.facts, folder / STATE)
    tables = getattr(getattr(trainer.objective.model, "encoder", None), "entries", ())
    sizes = tuple(len(entry.table.weight) - 1 for entry in tables if hasattr(entry, "table"))
    trainer.restore(state.step, renamed(state.tensors, trainer.recipe.is_classifier, sizes))
    return seconds


def _agreed(accelerator: "Accelerator", value: int) -> int:
    """The sum over processes, which must all stop after the same step: of one that says something, and others that say
    0."""
    if accelerator.num_processes == 1:
        return int(value)
    return int(accelerator.reduce(torch.tensor(int(value), device=accelerator.device)))
