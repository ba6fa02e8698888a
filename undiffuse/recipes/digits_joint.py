"""A picture with its label: the mixed process on handwritten digits."""

from undiffuse.codec import Labelled
from undiffuse.data.source import Digits
from undiffuse.loss.mixed import MixedLoss
from undiffuse.net.table import TableMLP
from undiffuse.recipe.recipe import Recipe


def digits_joint() -> Recipe:
    """handwritten digits drawn together with their labels, or one given the other; in two minutes"""
    return Recipe(
        data=Digits(),
        codec=Labelled(),
        net=TableMLP(width=512, depth=4, waves=0),
        loss=MixedLoss(whole=True),
        label_dropout=0.0,
        steps=6_000,
        batch=256,
        precision="bf16",
        save_every=1_000,
        report_every=2_000,
        sampler="ddpm",
        sampling_steps=50,
    )
