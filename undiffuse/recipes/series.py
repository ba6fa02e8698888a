"""Series: a heart's pulse, and signals of one's own."""

from undiffuse.data.own import Files, SeriesFiles
from undiffuse.data.ready import Pulse
from undiffuse.net import SignalUNet, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling


def pulse() -> Recipe:
    """A heart's pulse, slow or fast: signals of one dimension, in a minute."""
    return Recipe(
        data=Pulse(),
        model=GaussianDiffusion(SignalUNet(UNet(width=32, multiples=(1, 2, 2, 2), embedding=128))),
        training=Training(steps=1_000, batch=64, lr=2e-3, save_every=500, report_every=500),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.0)),
    )


def series(source: Files | SeriesFiles, size: tuple[int, ...]) -> Recipe:
    """Signals of one's own, (length,) ``size``: a level of the network for every halving down to 16 values."""
    levels = max(1, min(6, size[0].bit_length() - 4))
    multiples = (1, 2, 2, 4, 4, 4)[:levels]
    return Recipe(
        data=source,
        model=GaussianDiffusion(SignalUNet(UNet(width=48, multiples=multiples, embedding=192))),
        training=Training(steps=10_000, batch=64, save_every=500, report_every=1_000),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
    )
