"""Rounds of bridges, on Gaussians: what a crossing keeps, what a round fits, and where the rounds end."""

import math

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.bridge import BridgeDenoiser, Ends
from undiffuse.exact.bridge import GaussianBridge, TwoGaussians, schroedinger
from undiffuse.loss.markovian import Markovian, one_way
from undiffuse.loss.proportional import Proportional
from undiffuse.process import Pinned
from undiffuse.process.pinned import way

S_0, S_1 = 0.8, 1.3


def normal(count: int, seed: int) -> torch.Tensor:
    return SeededNoise(seed).normal(torch.zeros(count, 1, dtype=torch.float64))


def covariance(x, y):
    return float(torch.cov(torch.cat([x, y], 1).T)[0, 1])


def fitting(how, former, steps=100):
    """The loss of a training whose former denoiser is exact."""
    made = how.begin(former, steps)
    made.former = former
    return made


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_rounds_of_markovian_fitting_end_in_the_schroedinger_bridge(sigma):
    """From independent pairs, each round refitted exactly: the covariance of what crosses; without noise, in one round,
    the straight lines of optimal transport."""
    c = 0.0
    for k in range(5 if sigma else 1):
        former = GaussianBridge(Pinned(sigma=sigma), TwoGaussians(0, S_0, 0, S_1, c))
        x_1 = S_1 * normal(20_000, k + 1)
        x_0 = fitting(Markovian(crossing=100), former).crossed(x_1, False, SeededNoise(k + 50))
        assert abs(x_0.std() / S_0 - 1) < 0.02
        c = covariance(x_0, x_1) * S_1**2 / float(x_1.var())
    expected = schroedinger(0, S_0, 0, S_1, sigma).c
    assert abs(c - expected) < 0.02 * S_0 * S_1


@pytest.mark.parametrize("back", [False, True])
def test_a_crossing_starts_where_it_is_told(back):
    former = GaussianBridge(Pinned(sigma=0.5), TwoGaussians(-3, 0.1, 3, 0.1, 0))
    x = torch.full((50, 1), -3.0 if back else 3.0, dtype=torch.float64)
    there = fitting(Markovian(), former).crossed(x, back, SeededNoise(0))
    assert (there - (3.0 if back else -3.0)).abs().max() < 1


@pytest.mark.parametrize("to_1", [False, True])
def test_a_way_is_learned_from_the_pairs_whose_other_end_is_real(to_1):
    """The loss of the pairs that started at x_1 depends on the way to x_1 alone."""
    process, pairs = Pinned(sigma=1.0), Ends(S_0 * normal(100, 1), S_1 * normal(100, 2))
    chosen = torch.full((100,), to_1)

    class Shifted(GaussianBridge):
        def ways(self, x_t, t, conditions=None):
            y_0, y_1 = super().ways(x_t, t)
            return Ends(y_0 + 1, y_1) if to_1 else Ends(y_0, y_1 + 1)

    of = TwoGaussians(0, S_0, 0, S_1)
    plain, shifted = (one_way(kind(process, of), pairs, chosen, SeededNoise(0)) for kind in (GaussianBridge, Shifted))
    assert torch.equal(plain, shifted)
    assert not torch.equal(plain, one_way(Shifted(process, of), pairs, ~chosen, SeededNoise(0)))


def test_a_last_round_of_one_step_learns_where_the_flow_ends():
    """Nothing is lost by a denoiser that is right where crossings start, on either side, and wrong in between; the
    flow that was learned before loses: its first step leads to the mean."""

    class AtTheEnds(GaussianBridge):
        def ways(self, x_t, t, conditions=None):
            return Ends(*(y + 5 * (t * (1 - t))[:, None] for y in super().ways(x_t, t)))

    independent = GaussianBridge(Pinned(), TwoGaussians(-1, S_0, 2, S_1))
    carried = AtTheEnds(Pinned(), TwoGaussians(-1, S_0, 2, S_1, S_0 * S_1))
    rounds = fitting(Markovian(rounds=2, crossing=100, one_step=True), independent)
    ends = Ends(S_0 * normal(64, 1) - 1, S_1 * normal(64, 2) + 2)
    assert rounds.losses(carried, 1, ends, SeededNoise(0), None).max() < 1e-4
    assert rounds.losses(independent, 1, ends, SeededNoise(0), None).mean() > 0.1
    assert rounds.losses(carried, 0, ends, SeededNoise(0), None).mean() > 0.1


@pytest.mark.parametrize("score", [False, True])
@pytest.mark.parametrize("forwards", [True, False])
def test_the_schroedinger_bridge_is_where_proportional_fitting_rests(score, forwards):
    """Crossings by the exact drift one way give, regressed on x, the exact drift of the other way."""
    exact = GaussianBridge(Pinned(sigma=1.0), schroedinger(0, S_0, 0, S_1, 1.0))
    rounds = fitting(Proportional(crossing=100, score=score), exact)
    start = (S_0 if forwards else S_1) * normal(20_000, 1)
    points, times, wanted = rounds.crossed(start, forwards, False, SeededNoise(2))
    for elapsed in (0.2, 0.5, 0.8):
        at = (times - elapsed).abs() < 1e-9
        x, y = points[at], wanted[at]
        slope = covariance(x, y) / float(x.var())
        one = torch.ones(1, 1, dtype=torch.float64)
        said = float(exact.ways(one, elapsed if forwards else 1 - elapsed)[0 if forwards else 1])
        noise = float(y.std()) / float(x.std()) / math.sqrt(len(x))
        assert abs(slope - said) < 4 * noise + 0.02


def test_the_first_round_of_proportional_fitting_reverses_a_brownian_motion():
    """From N(0, s^2) by sigma B: E[x_0 | x_t] = s^2/(s^2 + sigma^2 t) x_t."""
    rounds = fitting(Proportional(crossing=50), GaussianBridge(Pinned(sigma=1.0), TwoGaussians()))
    points, times, wanted = rounds.crossed(S_0 * normal(20_000, 1), True, True, SeededNoise(2))
    for t in (0.1, 0.5, 1.0):
        at = (times - t).abs() < 1e-9
        slope = covariance(points[at], wanted[at]) / float(points[at].var())
        expected = (S_0**2 / (S_0**2 + t) - 1) / way(1 - t, 1.0)
        assert abs(slope - expected) < 4 * float(wanted[at].std() / points[at].std()) / math.sqrt(20_000) + 0.01


def test_rounds_begin_with_a_copy_and_are_all_of_one_length():
    net = torch.nn.Linear(1, 2)

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, x, routes):
            return self.inner(x)

    denoiser = BridgeDenoiser(Tiny(), Pinned(sigma=1.0))
    rounds = Markovian(rounds=3, crossing=2, reuse=2).begin(denoiser, 7)
    assert [rounds.round_of(step) for step in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    x = torch.randn(8, 1)
    copied = []
    for step in range(7):
        with torch.no_grad():
            net.bias.fill_(float(step))
        assert rounds(denoiser, x, x + 1, Stream()).isfinite().all()
        copied.append(float(rounds.former.net.inner.bias[0].detach()))
    assert copied == [0, 0, 0, 3, 3, 5, 5]


def test_what_one_step_needs_is_said():
    with pytest.raises(UserError, match="at least 2"):
        Markovian(rounds=1, one_step=True)
    with pytest.raises(UserError, match="leave out the noise: --sigma 0"):
        Markovian(one_step=True).begin(GaussianBridge(Pinned(sigma=0.5), TwoGaussians()), 10)


def test_what_proportional_fitting_needs_is_said():
    with pytest.raises(UserError, match="odd number of rounds"):
        Proportional(rounds=4)
    with pytest.raises(UserError, match="bridge with noise: --sigma 1"):
        Proportional().begin(GaussianBridge(Pinned(), TwoGaussians()), 10)
