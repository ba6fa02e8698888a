"""Keyboards: pictures of which a program can say whether they are right (`undiffuse.data.synthetic.keyboard`).

Keys are alike from top to bottom, so the height is folded into channels: what is left is wide and flat. The network's
depth goes where the keys are counted, and each place is told where it is. `docs/piano.md` has what mattered.
"""

from undiffuse.data.ready import Piano
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogitNormal
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def piano() -> Recipe:
    """piano keyboards of 24 x 64 pixels from any key, in fifteen minutes; are their black keys in twos and threes?

    Keys are alike from top to bottom, so patches of 8 x 2 pixels are folded into channels: what is left is wide and
    flat, and the network's depth goes where the keys are counted. Which keys are black is decided while there is much
    noise, so times are drawn noisier than evenly. `docs/piano.md` has what mattered.
    """
    return Recipe(
        data=Piano(),
        model=GaussianDiffusion(
            SpaceToDepth(UNet(width=64, multiples=(1, 2, 2), blocks=(1, 1, 3)), patch=(8, 2), waves=5),
            loss=Denoising(time=LogitNormal(mean=0.5)),
        ),
        training=Training(steps=9_000, batch=64, lr=2e-3, precision="bf16", save_every=1_000, report_every=3_000),
        sampling=Sampling(sampler="dpm++2m-sde", guidance=Guidance(3.0)),
    )
