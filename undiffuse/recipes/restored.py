"""Pictures restored from what is left of them, by any recipe of pictures.

    undiffuse train flowers/ --task super-resolution
    undiffuse train fashion-mnist --task inpainting --speed 0.5

The network is told what is left and nothing else: labels are not, so that it answers pictures that have none.
"""

from dataclasses import replace
from typing import get_args

from undiffuse.core.configuration import kebab
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.data.source import Restored, Single, TaskSource
from undiffuse.recipe.recipe import Recipe
from undiffuse.sampling.sampling import Guidance

TASKS: dict[str, type[TaskSource]] = {kebab(cls.__name__): cls for cls in get_args(TaskSource)}


def restored(recipe: Recipe, name: str) -> Recipe:
    """The recipe for the task of this name. What is left of a picture is always told, so there is nothing to guide by.

    Raises UserError for an unknown task, and for a recipe of other data than pictures.
    """
    with usage():
        if name not in TASKS:
            raise UserError(nearest(name, TASKS, "task"))
        if recipe.stages or not isinstance(recipe.data, Single):
            raise UserError("--task is of pictures alone: a folder of them, or a recipe without stages or bridges")
    told = replace(recipe, data=Restored(recipe.data, TASKS[name]()))
    told.data.open("test")
    unguided = replace(told.sampling, guidance=Guidance())
    return replace(told, sampling=unguided).changed(condition_dropout=0.0, each_dropout=0.0)
