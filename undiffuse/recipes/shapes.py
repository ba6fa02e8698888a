"""Words to pictures: shapes of which a program can say whether they are what the caption asked for.

A small transformer reads the caption, trained along with the network, which attends to its words. `docs/words.md` has
what mattered.
"""

from undiffuse.codec import ConvVAE
from undiffuse.codec.vae import Fit
from undiffuse.data.ready import Shapes
from undiffuse.denoiser.prediction import X0
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogNormal
from undiffuse.loss.weight import EDMWeight
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def shapes() -> Recipe:
    """pictures of what a caption says, "a red circle above a blue square"; so far blobs of the right colours"""
    return Recipe(
        data=Shapes(),
        model=GaussianDiffusion(
            SpaceToDepth(UNet(width=32, multiples=(1, 2, 4), blocks=(1, 2, 3), attention=2), waves=3),
            prediction=X0(),
            loss=Denoising(time=LogNormal(mean=0.7, std=1.3), weight=EDMWeight(0.5)),
        ),
        training=Training(steps=6_800, batch=32, lr=1.5e-3, save_every=850, report_every=3_400),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(3.0)),
    )


def shapes_latent() -> Recipe:
    """the same from latents of 4 x 8 x 8 numbers: an autoencoder first, then words, as Stable Diffusion does it"""
    return shapes().changed(
        codec=ConvVAE(latent=4, width=32, halvings=2, fit=Fit(steps=3_000, batch=64, deviation=0.2, kl=0.3)),
        net=UNet(width=96, multiples=(1, 2), attention=2),
    )
