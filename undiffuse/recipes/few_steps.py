"""Models of one evaluation, trained from data alone: no teacher, no second training."""

from undiffuse.loss.easy_consistency import EasyConsistencyTuning
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.digits import digits
from undiffuse.recipes.toys import toy


def swiss_roll_one_step() -> Recipe:
    """a swiss roll in one evaluation, without a teacher: first a diffusion, then its own student"""
    return _in_one_step(toy("swiss-roll")).changed(steps=8_000, save_every=2_000, report_every=2_000)


def digits_one_step() -> Recipe:
    """handwritten digits in one evaluation, without a teacher"""
    return _in_one_step(digits()).changed(steps=4_000, save_every=1_000, report_every=1_000)


def _in_one_step(recipe: Recipe) -> Recipe:
    return recipe.changed(loss=EasyConsistencyTuning(), sampler="consistency", sampling_steps=1)
