"""The mixed process: each half as it is alone, and the two together where numbers and tokens depend on each other."""

import math

import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.process import ABSORBING, Affine, Categorical, Cosine, Fading
from undiffuse.process.mixed import Mixed, MixedBelief
from undiffuse.sampling.grid import log_snr_uniform, trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral
from undiffuse.theory.likelihood import bound

PROCESS = Mixed(1, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2, torch.float64))
WEIGHTS, MEANS, STD = torch.tensor([0.3, 0.7]).double(), torch.tensor([-1.0, 1.0]).double(), 0.3


def exact(x_t: Tensor, t: float) -> MixedBelief:
    """A token k ~ WEIGHTS and a number ~ N(MEANS[k], STD^2): x_t shows the number in noise, and perhaps the token."""
    y, token = PROCESS.parts(x_t)
    alpha, sigma, _ = PROCESS.schedule.at(t)
    spread = (alpha * STD) ** 2 + sigma**2
    logits = WEIGHTS.log() - 0.5 * (y - alpha * MEANS) ** 2 / spread
    logits = torch.where((token == 2) | (token == torch.arange(2)), logits, -math.inf)
    means = MEANS + alpha * STD**2 / spread * (y - alpha * MEANS)
    return MixedBelief((logits.softmax(1) * means).sum(1, keepdim=True), logits[:, None])


def data(count: int) -> Tensor:
    noise = SeededNoise(7)
    token = (noise.uniform(torch.zeros(count, 1).double()) > WEIGHTS[0]).long()
    return torch.cat([MEANS[token] + STD * noise.normal(torch.zeros(count, 1).double()), token.double()], 1)


def test_each_half_is_what_it_is_alone():
    x_0, (t, s) = data(16), (0.6, 0.3)
    x_t = PROCESS.corrupt(x_0, t, SeededNoise(0))
    numbers, tokens = PROCESS.parts(x_0)
    assert x_t.shape == x_0.shape and set(x_t[:, 1].tolist()) <= {0.0, 1.0, 2.0}
    law, wrong = PROCESS.posterior(x_t, x_0, t, s), PROCESS.posterior(x_t, exact(x_t, t), t, s)
    halves = [
        (process.posterior(part, known, t, s), process.posterior(part, believed, t, s))
        for process, part, known, believed in zip(
            (PROCESS.gaussian, PROCESS.categorical), PROCESS.parts(x_t), (numbers, tokens), exact(x_t, t), strict=True
        )
    ]
    torch.testing.assert_close(law.kl(wrong), sum(known.kl(believed) for known, believed in halves))
    x_s = law.sample(SeededNoise(1))
    by_halves = sum(known.log_prob(part) for (known, _), part in zip(halves, PROCESS.parts(x_s), strict=True))
    torch.testing.assert_close(law.log_prob(x_s), by_halves)


def test_sampling_draws_numbers_and_tokens_that_belong_together():
    count, noise = 4000, SeededNoise(0)
    start = PROCESS.start(torch.zeros(count, 2).double(), noise)
    x = last(trajectory(Ancestral(PROCESS), exact, start, trailing(PROCESS.schedule, 60), noise))
    numbers, tokens = x.unbind(1)
    assert abs(float(tokens.mean()) - 0.7) < 0.03
    for k in (0, 1):
        mine = numbers[tokens == k]
        assert abs(float(mine.mean()) - MEANS[k]) < 0.05 and abs(float(mine.std()) - STD) < 0.04


def test_the_bound_comes_down_to_the_exact_likelihood():
    """-log p(number, token), by the same bound as every other process; its gap falls with the steps."""
    x_0 = data(1000)
    token = x_0[:, 1].long()
    normal = -0.5 * ((x_0[:, 0] - MEANS[token]) / STD) ** 2 - math.log(STD * math.sqrt(2 * math.pi))
    truth = float(-(WEIGHTS[token].log() + normal).mean())
    grids = [(1.0, *log_snr_uniform(PROCESS.schedule, steps)) for steps in (30, 120, 480)]
    gaps = [float(bound(PROCESS, exact, x_0, grid, SeededNoise(3)).total.mean()) - truth for grid in grids]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0 and gaps[2] < 0.3
