"""Fine-tuning: a training on other data that begins with the weights of a run.

    recipe = fine_tuned(run, recipe_of_the_data)
    train(recipe, "runs/mine", init=run)

The network, the codec and all settings are the run's; only the data is another. So data is encoded as the run's was:
numbers are standardised by its mean and standard deviation. Conditions may be others; see `undiffuse.condition.adopt`.
"""

from dataclasses import replace
from typing import Any

from undiffuse.condition.adopt import adopt
from undiffuse.core.errors import UserError
from undiffuse.core.modules import modules
from undiffuse.data.dataset import Dataset
from undiffuse.data.source import Between
from undiffuse.recipe.model import Bridge, FewSteps
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.run import Run

UNCHANGED = ("net", "prediction", "learned_variance", "kernel", "leave_one_out")  # what the weights are for


def fine_tuned(run: Run, of_data: Recipe) -> Recipe:
    """The recipe of a run, on the data of another recipe, which is read to rows of the run's shape where it can be.

    Raises UserError where the run's weights cannot go on, or where the data does not fit them.
    """
    if isinstance(run.recipe.model, FewSteps | Bridge):
        what = "takes few steps; go on from its teacher" if run.is_few_step else "is a bridge"
        raise UserError(f"{run.folder} {what}: only a diffusion, or a classifier, is fine-tuned")
    if isinstance(of_data.data, Between):
        raise UserError("data of two ends is for a bridge, which begins anew; leave --init out")
    source, shaped = of_data.data, getattr(of_data.data, "shaped", None)
    data = source.open()
    if shaped and data.kind == run.kind and data.shape != run.shape:
        source = shaped(run.shape)
        data = source.open()
    check_fits(run, data)
    training = replace(run.recipe.training, each_dropout=of_data.training.each_dropout)
    return replace(run.recipe, data=source, training=training)


def check_fits(run: Run, data: Dataset) -> None:
    """Raises UserError for data that the run's codec cannot encode."""
    if data.kind != run.kind:
        raise UserError(f"{data.name}: {data.kind}, and {run.folder} was trained on {run.kind}; leave --init out")
    if data.shape != run.shape:
        ours, theirs = (" x ".join(map(str, shape)) for shape in (data.shape, run.shape))
        raise UserError(f"{data.name}: rows of {ours}, and {run.folder} makes {theirs}; train anew, without --init")
    for name, what in (("alphabet", "characters"), ("schema", "columns and categories")):
        if hasattr(run.codec, name) and getattr(run.codec, name) != getattr(data, name):
            raise UserError(f"{data.name}: its {what} are not those of {run.folder}, which its codec needs; train anew")
    labels = getattr(run.codec, "classes", None)
    if run.codec.draws_label and run.recipe.codec.measure(data).facts() != run.codec.facts():
        raise UserError(f"{data.name}: its labels are not the {labels} that {run.folder} draws; train anew")


def begin_with(denoiser: Any, recipe: Recipe, data: Dataset, run: Run) -> list[str]:
    """Give an untrained denoiser the weights of a run; returns what begins new, in lines.

    Raises UserError for another network than the run's.
    """
    before, now = run.recipe.model, recipe.model
    for name in UNCHANGED:
        if getattr(before, name, None) != getattr(now, name, None):
            raise UserError(f"--init goes on from the {name.replace('_', ' ')} of {run.folder}; leave --{name} out")
    told, before_told = recipe.inputs(recipe.specifications(data.specifications)), run.recipe.inputs(run.specifications)
    lines = adopt(denoiser.encoder, told, run.denoiser.encoder, before_told)
    own, theirs = denoiser.net.state_dict(), run.denoiser.net.state_dict()
    wrong = [name for name, value in theirs.items() if name in own and own[name].shape != value.shape]
    if wrong:
        raise UserError(f"{run.folder}: its network has another number of inputs or outputs than this data needs")
    denoiser.net.load_state_dict(own | {name: value for name, value in theirs.items() if name in own})
    for mine, other in zip(modules(denoiser.process), modules(run.denoiser.process), strict=True):
        mine.load_state_dict(other.state_dict())
    return lines
