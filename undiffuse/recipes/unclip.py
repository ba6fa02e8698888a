"""unCLIP in small: a caption becomes the embedding of a picture, and the embedding a picture (Ramesh et al. 2022).

    shapes-clip     which captions and pictures belong together: vectors of both, trained first
    the prior       draws the vector of a picture, given its caption; one evaluation from noise is regression
    shapes-unclip   the decoder draws the picture, given the vector and the caption

One command trains all three: stages within the decoder's run.
"""

from dataclasses import replace

from undiffuse.data.ready import Shapes
from undiffuse.net import MLP, SpaceToDepth, UNet
from undiffuse.recipe.model import GaussianDiffusion, PictureText
from undiffuse.recipe.recipe import Below, Embeds, Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes.shapes import shapes
from undiffuse.sampling.sampling import Guidance, Sampling

EMBEDDING, CLIP = "embedding", "clip"


def shapes_clip() -> Recipe:
    """which captions and pictures of shapes belong together: CLIP in small"""
    return Recipe(
        data=Shapes(),
        model=PictureText(SpaceToDepth(UNet(width=64, multiples=(1, 2), attention=2), patch=(4, 4), waves=3)),
        training=Training(steps=4_000, batch=128, lr=1e-3, condition_dropout=0.0, save_every=500, report_every=1_000),
    )


def prior() -> Recipe:
    """The vectors of pictures, given captions."""
    return Recipe(
        data=Shapes(),
        model=GaussianDiffusion(MLP(width=256, depth=4, waves=0, embedding=128)),
        training=Training(steps=6_000, batch=256, lr=1e-3, save_every=1_000, report_every=3_000),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
        stages=(Embeds(CLIP, shapes_clip()),),
    )


def shapes_unclip() -> Recipe:
    """a caption becomes a vector of a picture, and that a picture, with its variations: unCLIP in small"""
    direct = shapes()
    training = replace(direct.training, each_dropout=0.3)  # so that either is enough
    return replace(direct, training=training, stages=(Below(EMBEDDING, prior()),))
