"""Bridges between two data sets: how they are trained, by method, and those that come along."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from undiffuse.codec import TwoEnds
from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.data.ready import WellKnown
from undiffuse.data.source import Between, End, Gray, Only, Restored, Smaller, StandardNormal
from undiffuse.loss.bridging import BridgeLoss, Matching
from undiffuse.loss.coupling import Entropic, OptimalTransport
from undiffuse.loss.markovian import Markovian
from undiffuse.loss.proportional import Proportional
from undiffuse.net import SpaceToDepth, UNet
from undiffuse.recipe.model import Bridge, GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes.digits import digits
from undiffuse.recipes.known import cifar10, fashion_mnist
from undiffuse.recipes.toys import toy
from undiffuse.sampling.sampling import Sampling

NOISE = "noise"  # what an end that is N(0, I) is called

FLOW = Sampling(sampler="heun", steps=20, grid="trailing")
SDE = Sampling(sampler="bridge", steps=50)


@dataclass(frozen=True)
class Method:
    """One way to learn a bridge.

    Attributes:
        summary: In words.
        loss, sigma: As of `Bridge`.
        sampling: How its runs are sampled by default.
        paired: Whether the data must be pairs.
        batch: The largest: a plan between two batches costs the square and more.
    """

    summary: str
    loss: BridgeLoss
    sigma: float = 0.0
    sampling: Sampling = FLOW
    paired: bool = False
    batch: int = 1 << 20


METHODS: dict[str, Method] = {
    "flow": Method("flow matching, every row with every other", Matching()),
    "optimal-transport": Method(
        "flow matching, rows of a batch paired at least cost", Matching(OptimalTransport()), batch=256
    ),
    "pairs": Method("flow matching of data that is paired", Matching(), paired=True),
    "alpha-deblending": Method(
        "iterative alpha-deblending, by Euler's 128 steps", Matching(), sampling=Sampling("euler", 128, "trailing")
    ),
    "interpolant": Method("a stochastic interpolant with latent noise", Matching(antithetic=True), 1.0, SDE),
    "entropic": Method(
        "a Schroedinger bridge from entropic pairs of a batch", Matching(Entropic(0.5)), 0.5, SDE, batch=256
    ),
    "schroedinger": Method("a Schroedinger bridge by Markovian fitting (DSBM)", Markovian(), 0.5, SDE),
    "proportional": Method(
        "a Schroedinger bridge by proportional fitting (DSB)", Proportional(), 1.0, replace(SDE, steps=20)
    ),
    "reflow": Method("rectified flow: rounds that straighten it", Markovian(rounds=3)),
    "one-step-reflow": Method(
        "rectified flow, and a last round that learns it in one step",
        Markovian(rounds=4, one_step=True),
        sampling=Sampling("euler", 1, "trailing"),
    ),
    "image-to-image": Method("I2SB: a bridge with noise between pairs", Matching(), 0.3, SDE, paired=True),
}


def bridge(start: Recipe | StandardNormal, end: Recipe | StandardNormal, method: str = "flow") -> Recipe:
    """A bridge between the data of two recipes, by the network and the training of the end's, or of the start's if it
    ends in noise.

    Raises UserError for an unknown method, or for recipes of tokens or tables.
    """
    with usage():
        if method not in METHODS:
            raise UserError(nearest(method, METHODS, "method"))
    like = end if isinstance(end, Recipe) else start
    if not isinstance(like, Recipe):
        raise UserError("both ends are noise; one of them must be data")
    if not isinstance(like.model, GaussianDiffusion):
        raise UserError("a bridge joins points, pictures or series, and one end here is text or a table")
    how = METHODS[method]
    kept = 0 if isinstance(start, StandardNormal) else Bridge.kept
    return Recipe(
        data=Between(_source(start), _source(end), how.paired),
        codec=TwoEnds(),
        model=Bridge(like.model.net, how.sigma, how.loss, kept),
        training=replace(like.training, flip=False, batch=min(like.training.batch, how.batch)),
        sampling=how.sampling,
    )


def _source(end: Recipe | StandardNormal) -> End:
    """Where the rows of an end come from. Raises UserError for a bridge."""
    data = end.data if isinstance(end, Recipe) else end
    if isinstance(data, Between | Restored):
        raise UserError("a bridge joins data sets, and one end here is a bridge itself, or has a task")
    return data


def only(recipe: Recipe, label: str) -> Recipe:
    """The same recipe, of the rows that have one label."""
    with usage():
        if isinstance(recipe.data, Between | Restored | Only | Gray | Smaller | StandardNormal):
            raise UserError(f"rows of the label {label!r} are of a data set, and this is a bridge")
    return replace(recipe, data=Only(recipe.data, label))


def swiss_roll_to_moons() -> Recipe:
    """a swiss roll into two moons, each point by the shortest way"""
    return bridge(toy("swiss-roll"), toy("moons"), "optimal-transport")


def eight_gaussians_to_checkerboard() -> Recipe:
    """eight Gaussians into the dark squares of a chess board, by flow matching"""
    return bridge(toy("eight-gaussians"), toy("checkerboard"))


def threes_to_eights() -> Recipe:
    """handwritten threes into eights of the same hand, unpaired, by optimal transport"""
    return bridge(only(digits(), "3"), only(digits(), "8"), "optimal-transport")


def sneakers_to_boots() -> Recipe:
    """sneakers of Fashion-MNIST into ankle boots, unpaired, by optimal transport"""
    recipe = fashion_mnist()
    made = bridge(only(recipe, "sneaker"), only(recipe, "ankle boot"), "optimal-transport")
    return _small(made)


def colour_to_gray() -> Recipe:
    """small photographs into gray ones, in pairs, and back"""
    made = bridge(cifar10(), replace(cifar10(), data=Gray(WellKnown("cifar10"))), "pairs")
    return _small(made)


def _small(recipe: Recipe) -> Recipe:
    """Of patches of 4 x 4 pixels, for a few minutes of a laptop."""
    net = SpaceToDepth(UNet(width=64, multiples=(1, 2), embedding=128), patch=(4, 4))
    return recipe.changed(net=net, steps=800, batch=128, precision="fp32", save_every=400, report_every=400)


BRIDGES: dict[str, Callable[[], Recipe]] = {
    "swiss-roll-to-moons": swiss_roll_to_moons,
    "eight-gaussians-to-checkerboard": eight_gaussians_to_checkerboard,
    "threes-to-eights": threes_to_eights,
    "sneakers-to-boots": sneakers_to_boots,
    "colour-to-gray": colour_to_gray,
}
