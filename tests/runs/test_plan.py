"""What is planned is carried out: a recipe is refused where its denoiser is made, or its loss and its sampler work.

So nothing is refused at the first loss or the first report, after an autoencoder was trained or a night was spent.
"""

import math
from itertools import product
from pathlib import Path

import pytest
import torch

from undiffuse import process
from undiffuse.codec import Standard
from undiffuse.core.configuration import classes, hints
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.ready import Toy
from undiffuse.net import MLP
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import ABSORBING, UNIFORM, GaussianNoise, Ordinal, PoissonNoise, Replace
from undiffuse.process.categorical import TokenShape
from undiffuse.recipe.model import DiscreteDiffusion, GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.run.run import Run
from undiffuse.sampling.samplers import SAMPLERS, TOKEN_SAMPLERS
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

NUMBERS = GaussianDiffusion(MLP(width=8, depth=1))
TOKENS = DiscreteDiffusion(TokenTransformer(width=8, depth=1, heads=1))
NOISES = (GaussianNoise(), PoissonNoise(8.0), PoissonNoise(1.0))
KERNELS = {"mask": ABSORBING, "uniform": UNIFORM, "both": Replace(mask=0.5), "ordinal": Ordinal()}


def losses(model: type) -> list[type]:
    return list(classes(hints(model)["loss"]).values())


def planned(recipe: Recipe, shape: tuple[int, ...]):
    """The denoiser, or None where it is refused."""
    try:
        return recipe.denoiser(shape, {})
    except UserError:
        return None


@pytest.mark.parametrize("loss", losses(GaussianDiffusion))
def test_a_loss_of_numbers_that_is_planned_is_computed(loss):
    made = 0
    for z, learned, schedule in product(NOISES, (False, True), (process.Cosine(), process.LogLinear())):
        recipe = Recipe(Toy(), NUMBERS).changed(z=z, learned_variance=learned, schedule=schedule, loss=loss())
        if denoiser := planned(recipe, (2,)):
            assert recipe.model.loss(denoiser, torch.randn(8, 2), Stream()).isfinite().all()
            made += 1
    assert made


@pytest.mark.parametrize("loss", losses(DiscreteDiffusion))
def test_a_loss_of_tokens_that_is_planned_is_computed(loss):
    made = 0
    for kernel in KERNELS.values():
        recipe = Recipe(Toy(), TOKENS, sampling=Sampling("ancestral")).changed(kernel=kernel, loss=loss())
        if denoiser := planned(recipe, TokenShape((4,), 3)):
            assert recipe.model.loss(denoiser, torch.randint(0, 3, (8, 4)), Stream()).isfinite().all()
            made += 1
    assert made == (1 if loss.__name__ == "MaskedBound" else len(KERNELS))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_that_is_planned_samples(sampler):
    made = 0
    for z, learned in product(NOISES, (False, True)):
        if learned and not z.is_gaussian:
            continue  # no loss trains such a variance
        recipe = Recipe(Toy(), NUMBERS, sampling=Sampling(sampler, 2)).changed(z=z, learned_variance=learned)
        denoiser = planned(recipe, (2,))
        if denoiser:
            run = Run(Path("nowhere"), recipe, denoiser.eval(), Standard().build("points", (2,)).eval())
            assert sampler in run.samplers and run.sample(3).isfinite().all()
            made += 1
    assert made == (1 if SAMPLERS[sampler].learned_variance else made) > 0


@pytest.mark.parametrize("sampler", TOKEN_SAMPLERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sampler_of_tokens_that_is_planned_has_a_plan(sampler, kernel):
    model = DiscreteDiffusion(TOKENS.net, KERNELS[kernel], loss=losses(DiscreteDiffusion)[0]())
    denoiser = planned(Recipe(Toy(), model, sampling=Sampling(sampler)), TokenShape((4,), 3))
    if denoiser:
        TOKEN_SAMPLERS[sampler].make(denoiser.process)
    assert denoiser or sampler not in ("ancestral", "forward-backward")


def test_what_cannot_be_trained_leaves_no_folder(tmp_path):
    recipe = Recipe(Toy(count=60), NUMBERS)
    refused = {
        "ddpm-learned needs a model that learned its variance": recipe.override("sampler", "ddpm-learned"),
        "only Gaussian noise": recipe.changed(loss=losses(GaussianDiffusion)[1](), z=PoissonNoise(8.0)),
    }
    for told, one in refused.items():
        with pytest.raises(UserError, match=told):
            train(one, tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()


NO_CURVES = [
    *(process.Cosine(log_snr_end=-2e10), process.Cosine(s=-0.5), process.Cosine(log_snr_end=math.inf)),
    *(process.VP(beta_max=-20.0), process.VP(beta_min=math.nan), process.SubVP(beta_min=0.0, beta_max=0.0)),
    *(process.Sigmoid(start=3.0, end=-3.0), process.Sigmoid(tau=0.0), process.Sigmoid(tau=-1.0)),
    *(
        process.LogLinear(sigma_min=50.0, sigma_max=0.1),
        process.LogLinear(sigma_min=-1.0),
        process.LogLinear(start=1.0),
    ),
    *(process.EDM(sigma_min=0.0), process.EDM(rho=0.0), process.EDM(sigma_max=math.inf)),
    *(process.Linear(end=1.5), process.Linear(count=0), process.Linear(start=0.0), process.Linear(count=10**13)),
    *(process.ScaledLinear(end=2.0), process.SigmoidBetas(start=-1.0), process.CosineTable(max_beta=2.0)),
    *(process.Shifted(process.Cosine(), shift=0.0), process.Shifted(process.Flow(), shift=-1.0)),
    process.AlphaBars((0.5, 0.9)),
]


@pytest.mark.parametrize("schedule", NO_CURVES, ids=str)
def test_a_schedule_that_does_not_fall_is_refused(schedule):
    with pytest.raises(UserError, match=type(schedule).__name__):
        GaussianDiffusion(MLP(width=8, depth=1), schedule).build((2,), {})
