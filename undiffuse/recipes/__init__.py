"""Recipes that come along: functions of no arguments, whose docstring is a line on what they make.

`own_data` and `of_hub` make one for data of your own.
"""

from collections.abc import Callable

from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.bridges import BRIDGES
from undiffuse.recipes.cascade import shapes_cascade
from undiffuse.recipes.checkable import arithmetic, brackets, sudoku
from undiffuse.recipes.digits import digits, digits_classifier
from undiffuse.recipes.digits_joint import digits_joint
from undiffuse.recipes.digits_latent import digits_latent
from undiffuse.recipes.few_steps import digits_one_step, swiss_roll_one_step
from undiffuse.recipes.known import cifar10, fashion_mnist, fashion_mnist_ddpm, fashion_mnist_latent, mnist
from undiffuse.recipes.letters import letters, letters_post
from undiffuse.recipes.own import of_hub, own_data
from undiffuse.recipes.piano import piano
from undiffuse.recipes.series import pulse
from undiffuse.recipes.shapes import shapes, shapes_latent
from undiffuse.recipes.table import table
from undiffuse.recipes.text import heartbeat, heartbeat_masked, shakespeare
from undiffuse.recipes.tokens import fashion_mnist_discrete, fashion_mnist_vq, quantised_digits
from undiffuse.recipes.toys import SUMMARIES, recipe_of, swiss_roll_moment_matching
from undiffuse.recipes.unclip import shapes_clip, shapes_unclip

RECIPES: dict[str, Callable[[], Recipe]] = {name: recipe_of(name) for name in SUMMARIES} | {
    "swiss-roll-one-step": swiss_roll_one_step,
    "swiss-roll-moment-matching": swiss_roll_moment_matching,
    "digits": digits,
    "digits-one-step": digits_one_step,
    "digits-classifier": digits_classifier,
    "digits-latent": digits_latent,
    "digits-joint": digits_joint,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "fashion-mnist-latent": fashion_mnist_latent,
    "fashion-mnist-ddpm": fashion_mnist_ddpm,
    "cifar10": cifar10,
    "letters": letters,
    "letters-post": letters_post,
    "piano": piano,
    "shapes": shapes,
    "shapes-latent": shapes_latent,
    "shapes-cascade": shapes_cascade,
    "shapes-clip": shapes_clip,
    "shapes-unclip": shapes_unclip,
    "pulse": pulse,
    "table": table,
    "heartbeat": heartbeat,
    "heartbeat-masked": heartbeat_masked,
    "brackets": brackets,
    "sudoku": sudoku,
    "arithmetic": arithmetic,
    "shakespeare": shakespeare,
    "quantised-digits": quantised_digits,
    "fashion-mnist-discrete": fashion_mnist_discrete,
    "fashion-mnist-vq": fashion_mnist_vq,
    **BRIDGES,
}

__all__ = ["RECIPES", "of_hub", "own_data"]
