"""A classifier of tokens: with the exact one, samples have the law of the data given what was asked."""

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.token_guidance import TokenClassifier
from undiffuse.exact import Chain
from undiffuse.process import ABSORBING, UNIFORM, Categorical, Fading
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.unmask import FirstHitting

DRAWS = 6_000
PROCESS = Categorical(Fading(), ABSORBING, 3, torch.float64)
CHAIN = Chain.random(PROCESS, 3, SeededNoise(1))
ODD = Chain(PROCESS, CHAIN.table * (CHAIN.sequences.sum(1) % 2).view(CHAIN.table.shape))  # the data given y


def log_odd(x_t, t, conditions=None):
    """log p(the sum of the tokens is odd | x_t)."""
    total = [float((chain.table / CHAIN.table.sum()).sum().log()) for chain in (ODD, CHAIN)]
    return ODD.log_density(x_t, 0.5) + total[0] - CHAIN.log_density(x_t, 0.5) - total[1]


@pytest.mark.parametrize("x_t", [[3, 3, 3], [3, 1, 3], [0, 3, 2]])
def test_weight_two_is_bayes_rule(x_t):
    x_t = torch.tensor([x_t, [3, 3, 0]])
    guided = TokenClassifier(CHAIN, log_odd, PROCESS, 2.0)(x_t, 0.5)
    masked = x_t == 3
    torch.testing.assert_close(guided.softmax(-1)[masked], ODD(x_t, 0.5).softmax(-1)[masked])
    assert guided[~masked].equal(CHAIN(x_t, 0.5)[~masked])
    assert TokenClassifier(CHAIN, log_odd, PROCESS, 1.0)(x_t, 0.5).equal(CHAIN(x_t, 0.5))


def test_samples_have_the_law_of_the_data_given_what_is_asked():
    guided, noise = TokenClassifier(CHAIN, log_odd, PROCESS, 2.0), SeededNoise(3)
    start = torch.full((DRAWS, 3), 3)
    x = last(trajectory(FirstHitting(PROCESS), guided, start, trailing(PROCESS.schedule, 3), noise))
    shares = (x @ torch.tensor([9, 3, 1])).bincount(minlength=27) / DRAWS
    assert (x.sum(1) % 2 == 1).all()
    torch.testing.assert_close(shares, (ODD.table / ODD.table.sum()).flatten().float(), rtol=0, atol=0.02)


def test_it_guides_masks_alone():
    with pytest.raises(UserError, match="set the kernel's mask to 1"):
        TokenClassifier(CHAIN, log_odd, Categorical(Fading(), UNIFORM, 3), 2.0)
