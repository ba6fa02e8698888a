"""Text: characters that are masked and predicted, and the heartbeat, the first benchmark of diffusion."""

from undiffuse.codec import Tokens
from undiffuse.data.own import TextFile
from undiffuse.data.ready import Heartbeat, Shakespeare
from undiffuse.loss.categorical import MaskedBound, TokenBound
from undiffuse.loss.draws import LowDiscrepancy
from undiffuse.loss.time import Uniform
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import UNIFORM, Fading
from undiffuse.recipe.model import DiscreteDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling


def heartbeat() -> Recipe:
    """twenty bits with a beat in every five, by binomial diffusion of 2,000 steps, as in 2015"""
    return Recipe(
        data=Heartbeat(),
        codec=Tokens(),
        model=DiscreteDiffusion(
            TokenTransformer(width=64, depth=2, heads=4, positions="learned"),
            schedule=Fading(),
            kernel=UNIFORM,
            leave_one_out=True,
            loss=TokenBound(Uniform(steps=2_000, draws=LowDiscrepancy()), auxiliary=0.0),
        ),
        training=Training(steps=6_000, batch=128, lr=2e-3, save_every=1_000, report_every=1_000),
        sampling=Sampling(sampler="ancestral", steps=2_000),
    )


def heartbeat_masked() -> Recipe:
    """the same heartbeat by masks, whose bound loses nothing"""
    return Recipe(
        data=Heartbeat(),
        codec=Tokens(),
        model=DiscreteDiffusion(
            TokenTransformer(width=64, depth=2, heads=4, positions="learned", time=False),
            schedule=Fading(),
            loss=MaskedBound(),
        ),
        training=Training(steps=2_000, batch=128, lr=2e-3, save_every=1_000, report_every=1_000),
        sampling=Sampling(sampler="first-hitting", steps=20),
    )


def shakespeare() -> Recipe:
    """a million characters of Shakespeare's plays, by masks, in a quarter of an hour"""
    return text(Shakespeare())


def text(source: TextFile | Shakespeare) -> Recipe:
    """Any text."""
    return Recipe(
        data=source,
        codec=Tokens(),
        model=DiscreteDiffusion(
            TokenTransformer(width=192, depth=4, heads=6, time=False), schedule=Fading(), loss=MaskedBound()
        ),
        training=Training(
            steps=3_000, batch=32, lr=2e-3, weight_decay=0.01, precision="bf16", save_every=500, report_every=1_000
        ),
        sampling=Sampling(sampler="first-hitting", steps=None),
    )
