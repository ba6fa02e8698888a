"""One step of tokens is its law, computed a second time by products of matrices."""

import math

import pytest
import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.process import (
    ABSORBING,
    UNIFORM,
    Categorical,
    Fading,
)
from undiffuse.step.forward_backward import ForwardBackward
from undiffuse.step.tau_leaping import TauLeaping
from undiffuse.step.unmask import FirstHitting, MostConfidentFirst

TOKENS, MASKS = (Categorical(Fading(), kernel, 3, torch.float64) for kernel in (UNIFORM, ABSORBING))
DRAWS = 40_000


@pytest.mark.parametrize("t, s", [(0.9, 0.5), (0.5, 0.1)])
def test_a_leap_holds_the_rates_of_its_beginning(t, s):
    """A token stays with probability e^(-rate (t - s)), and goes elsewhere in proportion to the rates."""
    logits, h = torch.tensor([0.6, 0.3, 0.1]).double().log().expand(DRAWS, 1, 3), 1e-6
    x_t = torch.full((DRAWS, 1), 1)
    x_s, _ = TauLeaping(TOKENS)(lambda x, t: logits, x_t, t, s, None, SeededNoise(0))
    rates = TOKENS.posterior(x_t[:1], logits[:1], t, t - h).log_probs.exp()[0, 0] / h
    rates[1] = 0.0
    leaves = 1 - math.exp(-float(rates.sum()) * (t - s))
    law = rates / rates.sum() * leaves
    law[1] = 1 - leaves
    torch.testing.assert_close(x_s[:, 0].bincount(minlength=3) / DRAWS, law.float(), rtol=0, atol=0.01)
    ended, _ = TauLeaping(TOKENS)(lambda x, t: logits, x_t, t, 0.0, None, SeededNoise(0))
    decoded = TOKENS.decoder(x_t[:1], logits[:1], t).log_probs.exp()[0, 0]
    torch.testing.assert_close(ended[:, 0].bincount(minlength=3) / DRAWS, decoded.float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("back", [0.3, 1.0])
@pytest.mark.parametrize("corrections", [0, 1, 2])
def test_lost_again_and_drawn_again(back, corrections):
    """The law of x_s by products of matrices: down, then up and down again."""
    t, s = 0.8, 0.4
    every, logits = torch.arange(3)[:, None], torch.tensor([0.6, 0.3, 0.1]).double().log()
    between = s + back * (t - s)

    def down(t: float) -> Tensor:
        return TOKENS.posterior(every, logits.expand(3, 1, 3), t, s).log_probs.exp()[:, 0]

    keep = float(TOKENS.survival(between).keep / TOKENS.survival(s).keep)
    up = keep * torch.eye(3).double() + (1 - keep) / 3
    law = down(t)[1]
    for _ in range(corrections):
        law = law @ up @ down(between)
    step = ForwardBackward(TOKENS, back, corrections)
    start = torch.full((DRAWS, 1), 1)
    x_s, _ = step(lambda x, t: logits.expand(*x.shape, 3), start, t, s, None, SeededNoise(0))
    torch.testing.assert_close(x_s[:, 0].bincount(minlength=3) / DRAWS, law.float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("randomness", [0.5, 2.0])
def test_how_sure_a_guess_is_has_gumbel_noise(randomness):
    """Of three guesses of probability p the one shown is each in proportion to p^(1/(randomness share))."""
    logits = torch.tensor([[40.0, 0.0, 0.0], [0.0, 0.0, -40.0], [0.0, 0.0, 0.0]]).double().expand(DRAWS, 3, 3)
    x, _ = MostConfidentFirst(MASKS, randomness)(
        lambda x, t: logits, torch.full((DRAWS, 3), 3), 1.0, 2 / 3, None, SeededNoise(0)
    )
    assert ((x == 3).sum(1) == 2).all()
    shares = torch.tensor([1.0, 1 / 2, 1 / 3]) ** (1 / (randomness * 2 / 3))
    torch.testing.assert_close((x != 3).float().mean(0), shares / shares.sum(), rtol=0, atol=0.012)


@pytest.mark.parametrize("masks", [1, 4])
def test_first_hitting_reveals_a_token_however_short_the_step(masks):
    x, _ = FirstHitting(MASKS)(
        lambda x, t: torch.zeros(*x.shape, 3), torch.full((5, masks), 3), 1.0, 0.99, None, SeededNoise(0)
    )
    assert ((x == 3).sum(1) == masks - 1).all()
