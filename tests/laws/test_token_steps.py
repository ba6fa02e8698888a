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
from undiffuse.step.remasking import Remasking
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


@pytest.mark.parametrize("most, share", [(0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.0, 0.4)])
@pytest.mark.parametrize("t, s", [(1.0, 0.7), (0.7, 0.4), (0.4, 0.0)])
def test_remasking_keeps_the_marginals(most, share, t, s):
    """Of x_t ~ q(x_t | x_0) with x_0 known, x_s ~ q(x_s | x_0), token by token; and it does mask again."""
    step, x_0, noise = Remasking(MASKS, most, share), torch.full((DRAWS, 2), 1), SeededNoise(0)
    belief = torch.tensor([-math.inf, 0.0, -math.inf]).double()
    x_t = MASKS.corrupt(x_0, t, noise)
    x_s, _ = step(lambda x, t: belief.expand(*x.shape, 3), x_t, t, s, None, noise)
    hidden = float(MASKS.survival(s).lose) if s > 0 else 0.0
    torch.testing.assert_close((x_s == 3).double().mean(), torch.tensor(hidden).double(), rtol=0, atol=0.006)
    again = ((x_t != 3) & (x_s == 3)).double().sum() / (x_t != 3).double().sum().clamp_min(1)
    torch.testing.assert_close(again, torch.tensor(step.sigma(t, s) if t < 1 else 0.0).double(), rtol=0, atol=0.01)


def test_masking_by_confidence_does_not_keep_them():
    """Of ReMDM's variant by confidence: sigma, eta x softmax(-confidence), is 0 at masks, which are revealed as if it
    were not. Of two tokens, one masked, the share of masks after the step is not the process's."""
    t, s, eta = 0.5, 0.25, 1.0
    keep_t, keep_s = (float(MASKS.survival(time).keep) for time in (t, s))
    sigma_max = min(1.0, (1 - keep_s) / keep_t)
    masks = 0.0
    for hidden, weight in ((0, keep_t**2), (1, 2 * keep_t * (1 - keep_t)), (2, (1 - keep_t) ** 2)):
        sigma = eta * sigma_max / (2 - hidden) if hidden < 2 else 0.0  # alike confident: the softmax is even
        reveal = (keep_s - keep_t) / (1 - keep_t)  # of a mask, whose sigma is 0
        masks += weight * ((2 - hidden) * sigma + hidden * (1 - reveal)) / 2
    assert abs(masks - (1 - keep_s)) > 0.1
