"""Keyboards: pictures of which a program can say whether they are right (`undiffuse.data.keyboard`).

Keys are alike from top to bottom, so the height is folded into channels: what is left is wide and flat. The network's
depth goes where the keys are counted, and each place is told where it is. `docs/piano.md` has what mattered.
"""

from undiffuse.data.source import Piano
from undiffuse.net import Folded, UNet
from undiffuse.recipe import Recipe


def piano() -> Recipe:
    """piano keyboards of 24 x 64 pixels, from the key asked for, in fifteen minutes"""
    return Recipe(
        data=Piano(),
        net=Folded(UNet(width=64, multiples=(1, 2, 2), blocks=(1, 1, 3)), patch=(8, 1), waves=5),
        steps=12_000,
        batch=32,
        lr=2e-3,
        precision="bf16",
        save_every=1_000,
        report_every=3_000,
    )
