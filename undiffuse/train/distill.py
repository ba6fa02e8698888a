"""Distillation: from a trained run to one that needs a step or a few.

    recipe = student(run, method_of("consistency"), guidance=(1.0, 4.0))
    train(recipe, "runs/fast", teacher=run)

A student has its teacher's network, schedule, codec and conditions, and begins with its weights. All that is asked of
it is in its recipe, so it is trained, resumed and opened like any run.
"""

from dataclasses import replace
from typing import cast

from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError, usage
from undiffuse.core.modules import Learning
from undiffuse.denoiser.prediction import V
from undiffuse.loss.few_step import FewStepLoss
from undiffuse.pipeline.network import PipelineNet
from undiffuse.process import Cosine
from undiffuse.recipe.model import FewSteps, GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.progress import lasting

BACKWARD = 2  # what gradients cost, in evaluations of the network


@usage()
def student(run: Run, method: FewStepLoss, evaluations: int | None = None, guidance: tuple[float, ...] = ()) -> Recipe:
    """The recipe of a run's student.

    Args:
        run: The teacher.
        method: How it is taught.
        evaluations: Of the network, for a sample: its default, and for some methods what it is trained for.
        guidance: The scale with which the teacher is guided, or a range of two, which becomes a condition. Empty is the
            teacher's default.

    Raises:
        UserError: The run is of tokens or of a table, names labels, or is a student itself; guidance of a run without
            conditions, or of a method without a teacher.
    """
    model = run.recipe.model
    if run.is_few_step:
        raise UserError(f"{run.folder} takes few steps already; distill the run that it was distilled from")
    if not isinstance(model, GaussianDiffusion):
        raise UserError(f"{run.folder} {_why_not(run)}")
    if isinstance(model.net, PipelineNet):
        raise UserError(f"{run.folder} is a pipeline of diffusers: its network is sampled here, and not trained")
    run.denoiser.process.require_gaussian("a student")
    if guidance and not method.taught:
        raise UserError("this method learns from the data alone, without guidance; leave --guidance out")
    if evaluations is not None and evaluations < 1:
        raise UserError(f"evaluations must be at least 1, not {evaluations}")
    loss = method if evaluations is None else method.for_evaluations(evaluations)
    prediction = cast(V, model.prediction) if isinstance(model.prediction, method.predictions) else V()
    schedule = Cosine() if isinstance(model.schedule, Learning) else model.schedule
    training = replace(run.recipe.training, steps=max(1, round(method.length * run.recipe.training.steps)))
    return replace(
        run.recipe,
        model=FewSteps(model.net, schedule, prediction, loss, guidance),
        training=training,
        sampling=Sampling(loss.samplers[0], evaluations or loss.most or 1, seed=run.recipe.sampling.seed),
    )


def cost(recipe: Recipe, teacher: Run) -> str:
    """What a distillation will cost, in a line, at the pace at which the teacher was trained."""
    assert isinstance(recipe.model, FewSteps)
    training, (of_teacher, of_student) = recipe.training, recipe.model.loss.asked
    twice = 2 if recipe.model.distilled_guidance or teacher.plan().weight != 1 else 1  # with and without conditions
    a_step = 1 + BACKWARD + of_student + twice * of_teacher
    pace = teacher.seconds / max(1, teacher.step) / (1 + BACKWARD) / teacher.recipe.training.batch
    seconds = pace * a_step * training.steps * training.batch
    assert isinstance(teacher.recipe.model, GaussianDiffusion)
    said, says = (kebab(type(model.prediction).__name__) for model in (teacher.recipe.model, recipe.model))
    anew = "" if says == said else f"; it predicts {says}, not {said} as its teacher, so its last layer begins anew"
    return (
        f"{training.steps:,} steps of {training.batch:,} rows, each asking the teacher {twice * of_teacher:g} times: "
        f"about {lasting(seconds)}, at the pace of the teacher's own training{anew}"
    )


def _why_not(run: Run) -> str:
    """Why a run of tokens, of a table, or of a classifier cannot be distilled, and what can be done instead."""
    if run.is_classifier:
        return "is a classifier, which makes nothing; distill the run that it guides"
    if not run.recipe.samples:
        return "tells which texts and pictures belong together, and makes nothing; distill a run that samples"
    if run.is_bridge:
        return "is a bridge, whose ways cross when there are few steps; train it with --method one-step-reflow"
    if run.is_of_tokens:
        names = ", ".join(run.samplers)
        return f"makes tokens, which follow no flow that could be distilled; sample it in fewer --steps, by {names}"
    return "makes rows of numbers and tokens, which follow no flow that could be distilled; sample it in fewer --steps"
