"""Tables: one recipe for any, its numbers made normal and its categories masked."""

from undiffuse.codec.table import Tabular
from undiffuse.data.source import Table
from undiffuse.loss.mixed import MixedLoss
from undiffuse.net.table import TableMLP
from undiffuse.recipe.recipe import Recipe


def table() -> Recipe:
    """rows of a table of yours, numbers and categories: --data people.csv"""
    return Recipe(
        data=Table(),
        codec=Tabular(),
        net=TableMLP(),
        loss=MixedLoss(),
        label_dropout=0.0,
        steps=4_000,
        batch=1024,
        lr=2e-3,
        precision="bf16",
        save_every=1_000,
        report_every=2_000,
        sampler="ddpm",
        sampling_steps=50,
    )
