"""Handwritten letters, by their names: `undiffuse write` makes sentences of them."""

from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.data.ready import Letters
from undiffuse.denoiser.prediction import Eps
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import Uniform
from undiffuse.net import MLP
from undiffuse.process import Linear
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling

DEVIATION = 2.5  # 1/2 SSE of pixels in [0, 1], in standard deviations of the letters' pixels


def letters() -> Recipe:
    """handwritten letters that write sentences, in ten minutes: `undiffuse write "HELLO WORLD" RUN`

    Among 32 latents, as an autoencoder finds them: a letter is one stroke of a hand, and what a young network of pixels
    gets wrong is not its edges but that it hangs together.
    """
    return Recipe(
        data=Letters(),
        codec=MLPVAE(latent=32, hidden=(512, 256), fit=Fit(steps=4_000, lr=1e-3, deviation=0.4, kl=0.5)),
        model=GaussianDiffusion(MLP(width=512, depth=5, waves=0, embedding=256)),
        training=Training(steps=8_000, batch=256, lr=1e-3, save_every=1_000, report_every=2_000),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
    )


def letters_post() -> Recipe:
    """the same as their founding post made them: 50 ancestral steps among 16 latents, its mistakes mended

    J. Hanke's latent DDPM of EMNIST: an autoencoder 784-256-128-16 trained on 1/2 SSE + KL, a dense denoiser, T = 50,
    beta from 1e-4 to .1. Mended: the step's noise has the deviation sqrt(beta-tilde), not beta-tilde itself; latents
    are standardised; rows are shuffled; labels are hidden now and then, so that it can be guided.
    """
    first, last, T = 1e-4, 0.1, 50  # 51 betas, of which the first is of no step
    return Recipe(
        data=Letters(),
        codec=MLPVAE(latent=16, hidden=(256, 128), fit=Fit(steps=4_000, batch=256, lr=1e-3, deviation=DEVIATION)),
        model=GaussianDiffusion(
            MLP(width=500, depth=3, waves=0, embedding=128),
            schedule=Linear(first + (last - first) / T, last, T),
            prediction=Eps(),
            loss=Denoising(time=Uniform(steps=T)),
        ),
        training=Training(steps=8_000, batch=256, save_every=2_000, report_every=4_000),
        sampling=Sampling(sampler="ddpm", steps=T),
    )
