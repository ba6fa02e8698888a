"""Handwritten digits on a laptop: the smallest pictures that a person can read."""

from undiffuse.data.source import Digits
from undiffuse.net import UNet
from undiffuse.recipe import Recipe


def digits() -> Recipe:
    """handwritten digits of 8 x 8 pixels, each made when asked for, in two minutes"""
    return Recipe(
        data=Digits(),
        net=UNet(),
        steps=1_500,
        batch=64,
        lr=2e-3,
        save_every=500,
        report_every=500,
    )
