"""Handwritten digits on a laptop: the smallest pictures that a person can read."""

from undiffuse.data.ready import Digits
from undiffuse.loss.cross_entropy import CrossEntropy
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training


def digits() -> Recipe:
    """handwritten digits of 8 x 8 pixels, by label, in two minutes"""
    return Recipe(
        data=Digits(),
        model=GaussianDiffusion(UNet()),
        training=Training(steps=1_500, batch=64, lr=2e-3, save_every=500, report_every=500),
    )


def digits_classifier() -> Recipe:
    """tells noisy digits apart, to guide a run of digits: undiffuse sample RUN --classifier THIS"""
    return digits().changed(loss=CrossEntropy(), condition_dropout=0.0, lr=1e-3)
