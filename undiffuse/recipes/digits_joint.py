"""A picture with its label: the mixed process on handwritten digits."""

from undiffuse.codec import Labelled
from undiffuse.data.ready import Digits
from undiffuse.loss.mixed import MixedLoss
from undiffuse.net.table import TableMLP
from undiffuse.recipe.model import MixedDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling


def digits_joint() -> Recipe:
    """handwritten digits drawn together with their labels, or one given the other; in two minutes"""
    return Recipe(
        data=Digits(),
        codec=Labelled(),
        model=MixedDiffusion(TableMLP(width=512, depth=4, waves=0), loss=MixedLoss(whole=True)),
        training=Training(
            condition_dropout=0.0, steps=6_000, batch=256, precision="bf16", save_every=1_000, report_every=2_000
        ),
        sampling=Sampling(sampler="ddpm", steps=50),
    )
