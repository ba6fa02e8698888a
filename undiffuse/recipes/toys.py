"""The line and the plane: recipes that train in seconds, one family of one network and one loss."""

from collections.abc import Callable

from undiffuse.data.ready import Toy
from undiffuse.denoiser.prediction import Velocity
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.draws import Stratified
from undiffuse.loss.moment_matching import MomentMatching
from undiffuse.loss.time import Uniform
from undiffuse.net import MLP
from undiffuse.process import Flow
from undiffuse.recipe.model import FewSteps, GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling

SUMMARIES = {
    "two-bumps": "two Gaussians on the line",
    "three-bumps": "three unequal Gaussians on the line",
    "claw": "a wide Gaussian with five narrow ones on it, on the line",
    "uniform": "the uniform density on the line, with its hard edges",
    "boxes": "two intervals on the line, and nothing between them",
    "swiss-roll": "a swiss roll in the plane, in ten seconds",
    "spiral": "a thin spiral in the plane, as in the paper on denoising as projection",
    "moons": "two interleaved half circles, labelled",
    "rings": "three concentric circles, labelled",
    "eight-gaussians": "eight Gaussians on a circle, labelled",
    "checkerboard": "the dark squares of a chess board",
    "pinwheel": "five bent blades, labelled",
    "tree": "a branching tree, labelled by its 27 leaves",
}


def toy(name: str) -> Recipe:
    """Points of the toy of this name."""
    return Recipe(
        data=Toy(name),
        model=GaussianDiffusion(MLP(), loss=Denoising(Uniform(draws=Stratified()))),
        training=Training(steps=2_000, batch=1024, lr=3e-3, save_every=1_000, report_every=1_000),
        sampling=Sampling(sampler="dpm++2m"),
    )


def recipe_of(name: str) -> Callable[[], Recipe]:
    """`toy` of this name as a function without arguments, whose docstring is the toy's summary."""

    def recipe() -> Recipe:
        return toy(name)

    recipe.__doc__ = SUMMARIES[name]
    return recipe


def swiss_roll_moment_matching() -> Recipe:
    """a swiss roll in one evaluation, without a teacher"""
    loss = MomentMatching(group=64, gap=1.0, c=0.0, ends=0.8)
    model = FewSteps(MLP(), Flow(), Velocity(), loss)
    return toy("swiss-roll").changed(model=model, steps=4_500, sampling=Sampling(sampler="jump", steps=1))
