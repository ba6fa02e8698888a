"""Latent diffusion in a minute: an autoencoder and the diffusion among its latents, by one command."""

from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.data.ready import Digits
from undiffuse.net import MLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def digits_latent() -> Recipe:
    """handwritten digits again, as 16 latent numbers each: latent diffusion in a minute"""
    return Recipe(
        data=Digits(),
        codec=MLPVAE(latent=16, hidden=(256, 128), fit=Fit(steps=3_000, deviation=0.3, kl=0.3)),
        model=GaussianDiffusion(MLP(width=256, depth=4, waves=0, embedding=128)),
        training=Training(steps=6_000, batch=256, save_every=1_000, report_every=2_000),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
    )
