"""Pictures as tokens: every value one of a few levels of brightness, lost and named again."""

from dataclasses import replace

from undiffuse.codec import Levels
from undiffuse.data.source import Digits, Known
from undiffuse.loss.categorical import MaskedBound, TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.net import Folded, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.process import Fading, Ordinal
from undiffuse.recipe import Recipe


def quantised_digits() -> Recipe:
    """scikit-learn's digits as tokens of their 17 levels, which nothing is lost by; masks, in a minute"""
    return Recipe(
        data=Digits(),
        codec=Levels(17),
        net=Embedded(UNet(width=64, multiples=(1, 2), embedding=128), width=8),
        schedule=Fading(),
        loss=MaskedBound(),
        steps=1_500,
        batch=64,
        lr=2e-3,
        precision="bf16",
        save_every=500,
        report_every=500,
        sampler="first-hitting",
        sampling_steps=64,
        guidance=1.5,
    )


def fashion_mnist_discrete() -> Recipe:
    """shirts and shoes as tokens of 16 levels, which drift to their neighbours (D3PM's Gaussian), in half an hour"""
    return replace(
        quantised_digits(),
        data=Known("fashion-mnist"),
        codec=Levels(16),
        net=Embedded(Folded(UNet(width=96, multiples=(1, 2), embedding=256), patch=(2, 2)), width=4),
        kernel=Ordinal(),
        loss=TokenBound(Uniform(steps=1000, draws=LowDiscrepancy()), auxiliary=0.01),
        steps=4_500,
        report_every=1_500,
        sampler="ancestral",
        sampling_steps=100,
        guidance=2.0,
    )
