"""The data sets that everybody compares on, as far as a laptop gets with them."""

from undiffuse.codec import ConvVAE
from undiffuse.codec.vae import Fit
from undiffuse.data.ready import WellKnown
from undiffuse.denoiser.prediction import Eps
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import Uniform
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.process import Linear
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def mnist() -> Recipe:
    """handwritten digits of 28 x 28 pixels, in ten minutes"""
    return _pictures("mnist", steps=3_000)


def fashion_mnist() -> Recipe:
    """shirts, shoes and bags of 28 x 28 pixels, in twenty minutes"""
    return _pictures("fashion-mnist", steps=4_500)


def cifar10() -> Recipe:
    """small photographs of ten things; work for a GPU, and not trained to the end here"""
    return _pictures("cifar10", steps=100_000, width=128).changed(flip=True)


def fashion_mnist_latent() -> Recipe:
    """the same shirts and shoes, as latents of 4 x 7 x 7 numbers: the autoencoder first, then the diffusion"""
    return Recipe(
        data=WellKnown("fashion-mnist"),
        codec=ConvVAE(latent=4, width=32, halvings=2, fit=Fit(steps=3_000, batch=64, deviation=0.2, kl=0.3)),
        model=GaussianDiffusion(UNet(width=128, multiples=(1, 2), embedding=256)),
        training=Training(steps=6_000, batch=128, lr=2e-3, precision="bf16", save_every=500, report_every=1_500),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
    )


def fashion_mnist_ddpm() -> Recipe:
    """the same shirts and shoes by the DDPM of 2020: every pixel, eps, 1000 steps of beta; to compare with"""
    return Recipe(
        data=WellKnown("fashion-mnist"),
        model=GaussianDiffusion(
            UNet(width=64, multiples=(1, 2, 2), blocks=2, dense=True, attention=(1,), embedding=256),
            schedule=Linear(),
            prediction=Eps(),
            loss=Denoising(time=Uniform(steps=1000)),
        ),
        training=Training(steps=1_000, batch=64, lr=2e-4, decay="constant", save_every=500, report_every=500),
        sampling=Sampling(sampler="ddpm", steps=250),
    )


def _pictures(name: str, steps: int, width: int = 96) -> Recipe:
    """Patches of 2 x 2 pixels folded into channels: four times the pictures in the same time."""
    return Recipe(
        data=WellKnown(name),
        model=GaussianDiffusion(SpaceToDepth(UNet(width=width, multiples=(1, 2), embedding=256), patch=(2, 2))),
        training=Training(steps=steps, batch=64, lr=2e-3, precision="bf16", save_every=500, report_every=1_500),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(2.0)),
    )
