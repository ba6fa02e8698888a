"""Pictures as tokens: every value is one of a few levels of brightness."""

from undiffuse.codec import VQVAE, Levels
from undiffuse.codec.vae import Fit
from undiffuse.data.ready import Digits, WellKnown
from undiffuse.loss.categorical import MaskedBound, TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import Fading, Ordinal, Replace
from undiffuse.recipe.model import DiscreteDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def quantised_digits() -> Recipe:
    """scikit-learn's digits as tokens of their 17 levels, which nothing is lost by; masks, in a minute"""
    return Recipe(
        data=Digits(),
        codec=Levels(17),
        model=DiscreteDiffusion(
            Embedded(UNet(width=64, multiples=(1, 2), embedding=128), width=8), schedule=Fading(), loss=MaskedBound()
        ),
        training=Training(steps=1_500, batch=64, lr=2e-3, precision="bf16", save_every=500, report_every=500),
        sampling=Sampling(sampler="first-hitting", steps=64, guidance=Guidance(1.5)),
    )


def fashion_mnist_discrete() -> Recipe:
    """shirts and shoes as tokens of 16 levels, which drift to their neighbours (D3PM's Gaussian), in half an hour"""
    return quantised_digits().changed(
        data=WellKnown("fashion-mnist"),
        codec=Levels(16),
        net=Embedded(SpaceToDepth(UNet(width=96, multiples=(1, 2), embedding=256), patch=(2, 2)), width=4),
        kernel=Ordinal(),
        leave_one_out=True,
        # nearly the bound alone: D3PM's .001, beside one of its 1,000 steps, would be 1 here
        loss=TokenBound(Uniform(steps=1000, draws=LowDiscrepancy()), auxiliary=0.01),
        steps=4_500,
        report_every=1_500,
        sampler="ancestral",
        sampling_steps=100,
        guidance=2.0,
    )


def fashion_mnist_vq() -> Recipe:
    """shirts and shoes as 7 x 7 tokens of a vocabulary of 256, masked and replaced (VQ-Diffusion), in twenty minutes"""
    return Recipe(
        data=WellKnown("fashion-mnist"),
        codec=VQVAE(codes=256, latent=8, width=32, halvings=2, fit=Fit(steps=1_500, batch=64, deviation=0.2, kl=0.25)),
        model=DiscreteDiffusion(
            TokenTransformer(width=192, depth=4, heads=6),
            schedule=Fading(),
            kernel=Replace(mask=0.9),
            leave_one_out=True,
            # the bound alone, all but: VQ-Diffusion's 5e-4, beside one of its 100 steps, would be .05 here
            loss=TokenBound(Uniform(steps=100, draws=LowDiscrepancy()), auxiliary=5e-4),
        ),
        training=Training(steps=2_500, batch=64, lr=1e-3, precision="bf16", save_every=500, report_every=1_250),
        sampling=Sampling(sampler="ancestral", steps=50, guidance=Guidance(2.0)),
    )
