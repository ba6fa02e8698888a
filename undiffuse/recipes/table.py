"""Tables: one recipe for any, its numbers made normal and its categories masked."""

from undiffuse.codec.table import Tabular
from undiffuse.data.own import TableFile
from undiffuse.loss.mixed import MixedLoss
from undiffuse.net.table import TableMLP
from undiffuse.recipe.model import MixedDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling


def table() -> Recipe:
    """rows of a table of yours, numbers and categories: --data people.csv"""
    return Recipe(
        data=TableFile(),
        codec=Tabular(),
        model=MixedDiffusion(TableMLP(), loss=MixedLoss()),
        training=Training(
            condition_dropout=0.0,
            steps=4_000,
            batch=1024,
            lr=2e-3,
            precision="bf16",
            save_every=1_000,
            report_every=2_000,
        ),
        sampling=Sampling(sampler="ddpm", steps=50),
    )
