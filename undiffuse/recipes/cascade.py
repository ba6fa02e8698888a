"""Cascades: a picture with few pixels, and stages that enlarge it, as one run (Ho et al. 2022; Saharia et al. 2022).

    undiffuse train FOLDER --sizes 16,64
    undiffuse train shapes-cascade

Each stage above the lowest is told the picture of the stage below, with noise (`undiffuse.condition.low`). Its
network is the efficient U-Net: skips are multiplied by 1/sqrt 2, resolution changes before the convolutions, and there
are more blocks where there are fewer pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from undiffuse.core.errors import UserError, usage
from undiffuse.data.own import Files, Hub
from undiffuse.data.ready import Shapes
from undiffuse.data.source import Single, Smaller
from undiffuse.denoiser.prediction import X0
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogNormal
from undiffuse.loss.weight import EDMWeight
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Below, Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes.own import pictures
from undiffuse.recipes.shapes import shapes
from undiffuse.sampling.sampling import Guidance, Sampling

LOW = "low"  # the condition that is a picture with fewer pixels
NOISE, GIVEN = 0.5, 0.1  # the most in training, and what is given in sampling
SMALLEST = 4  # pixels a side


def cascade(source: Files | Hub, sizes: Sequence[int]) -> Recipe:
    """Pictures of one's own, drawn at the first of the ``sizes`` and enlarged to each of the others.

    Raises UserError for sizes that are fewer than two, or that are not multiples of each other.
    """
    with usage():
        check_sizes(sizes)
    largest = _of_size(source, sizes[-1])
    recipe = pictures(_smaller(largest, sizes[-1] // sizes[0]), (sizes[0], sizes[0]))
    for size in sizes[1:]:
        recipe = enlarged(recipe, _smaller(largest, sizes[-1] // size), size)
    return recipe


def enlarged(low: Recipe, data: Single | Smaller, size: int, width: int = 64) -> Recipe:
    """A recipe with a stage above it, which makes pictures of ``size`` pixels a side of its pictures."""
    return Recipe(
        data=data,
        model=GaussianDiffusion(
            efficient(size, width),
            prediction=X0(),  # told what it enlarges, it need not pass noise on
            loss=Denoising(time=LogNormal(mean=0.3, std=1.3), weight=EDMWeight(0.5)),
        ),
        training=Training(steps=6_000, batch=32, lr=1e-3, save_every=500, report_every=2_000),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5), low_noise=GIVEN),
        stages=(Below(LOW, low, NOISE),),
    )


def efficient(size: int, width: int) -> SpaceToDepth:
    """The U-Net upstairs: patches of 4 x 4 from 64 pixels on, of 2 x 2 below; more blocks where it is coarse."""
    patch = 4 if size >= 64 and not size % 4 else 2 if not size % 2 else 1
    inner = UNet(width, (1, 2), blocks=(1, 2), skip_scale=round(math.sqrt(0.5), 4), resampling="early")
    return SpaceToDepth(inner, patch=(patch, patch))


def check_sizes(sizes: Sequence[int]) -> None:
    """Raises UserError unless each size is a multiple of the one before it."""
    said = ",".join(map(str, sizes))
    rising = all(below < size and size % below == 0 for below, size in pairwise(sizes))
    if len(sizes) < 2 or sizes[0] < SMALLEST or not rising:
        raise UserError(
            f"sizes are of two stages or more, each a multiple of the one before, from {SMALLEST} on, as 16,64; "
            f"not {said}"
        )


def _of_size(source: Files | Hub, size: int) -> Files | Hub:
    """Pictures read at this size, or those of a file that have it. Raises UserError for a file of others."""
    scaled = replace(source, size=size)
    try:
        scaled.open()
    except UserError:  # what has a size of its own
        shape = source.open().shape
        if shape[1:] == (size, size):
            return source
        raise
    return scaled


def _smaller(source: Files | Hub, fewer: int) -> Files | Hub | Smaller:
    return source if fewer == 1 else Smaller(source, fewer)


def shapes_cascade() -> Recipe:
    """pictures of what a caption says, drawn with 16 x 16 pixels and enlarged to 64 x 64: Imagen in small"""
    data = Shapes(size=64)
    low = shapes().changed(data=Smaller(data, 4), net=SpaceToDepth(UNet(96, (1, 2), attention=2), (2, 2), waves=3))
    return enlarged(low, data, 64, width=96).changed(guidance=2.0)
