"""Recipes that come along: functions of no arguments, whose docstring is a line on what they make; and `own_data`."""

from collections.abc import Callable

from undiffuse.recipe import Recipe
from undiffuse.recipes.digits import digits
from undiffuse.recipes.own import own_data
from undiffuse.recipes.toys import SUMMARIES, recipe_of

RECIPES: dict[str, Callable[[], Recipe]] = {name: recipe_of(name) for name in SUMMARIES} | {"digits": digits}

__all__ = ["RECIPES", "own_data"]
