"""Langevin dynamics: the exact bias of the unadjusted chain, and none of the adjusted one."""

import math
from itertools import islice

import pytest
import torch
from scipy.stats import ks_2samp

from undiffuse.core.distribution import total
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import VP, Affine
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.theory.langevin import langevin

MEAN, STD = 0.5, 1.3


def log_normal(x: torch.Tensor) -> torch.Tensor:
    """log N(MEAN, STD^2), unnormalised."""
    return total(-0.5 * ((x - MEAN) / STD) ** 2)


def walk(steps: int, size: float, adjusted: bool = False, count: int = 40_000):
    x = torch.full((count, 1), 3.0, dtype=torch.float64)
    return next(islice(langevin(log_normal, x, size, SeededNoise(7), adjusted), steps, None))


@pytest.mark.parametrize(("steps", "size"), [(1, 0.5), (3, 0.5), (40, 0.5), (40, 1.5), (200, 0.05)])
def test_the_unadjusted_chain_on_a_gaussian(steps, size):
    """Mean m + r^n (x - m), variance 2a (1 - r^2n)/(1 - r^2) after n steps, r = 1 - a/s^2; finally s^2/(1 - a/2s^2)."""
    r = 1 - size / STD**2
    variance = 2 * size * (1 - r ** (2 * steps)) / (1 - r**2)
    x = walk(steps, size).x
    assert x.mean().item() == pytest.approx(MEAN + r**steps * (3.0 - MEAN), abs=5 * math.sqrt(variance / len(x)))
    assert x.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / len(x)))
    if steps == 40:
        assert variance == pytest.approx(STD**2 / (1 - size / (2 * STD**2)), rel=1e-6)


def test_the_adjusted_chain_has_no_bias():
    size = 1.0
    unadjusted, adjusted = walk(60, size), walk(60, size, adjusted=True)
    tolerance = 5 * math.sqrt(2 / len(adjusted.x))
    assert adjusted.x.var().item() == pytest.approx(STD**2, rel=tolerance)
    assert unadjusted.x.var().item() > STD**2 * (1 + 2 * tolerance)
    assert 0.5 < adjusted.moved.double().mean() < 1


def test_the_adjusted_chain_stays_in_equilibrium():
    """From exact samples of a skewed density one big step leaves every moment as it was."""

    def log_gumbel(x):
        return total(-x - (-x).exp())

    exact = -(-SeededNoise(3).uniform(torch.empty(60_000, 1, dtype=torch.float64)).log()).log()
    after = next(islice(langevin(log_gumbel, exact, 0.7, SeededNoise(4), adjusted=True), 3, None)).x
    for power in (1, 2, 3):
        spread = (exact**power).std() / math.sqrt(len(exact))
        assert abs((after**power).mean() - (exact**power).mean()) < 5 * spread


def test_every_state_knows_its_density_and_score():
    for state in islice(langevin(log_normal, torch.zeros(4, 1, dtype=torch.float64), 0.3, SeededNoise(0), True), 6):
        assert torch.allclose(state.log_density, log_normal(state.x))
        assert torch.allclose(state.score, -(state.x - MEAN) / STD**2)
        assert not state.x.requires_grad


@pytest.mark.parametrize("adjusted", [False, True])
def test_a_chain_is_the_same_in_any_batch(adjusted):
    start = torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2)
    whole = next(islice(langevin(log_normal, start, 0.3, SeededNoise(0), adjusted), 9, None)).x
    part = next(islice(langevin(log_normal, start[3:], 0.3, SeededNoise(0, first=3), adjusted), 9, None)).x
    assert torch.allclose(part, whole[3:], rtol=1e-12)


def test_the_start_is_not_written_to_and_pictures_walk_too():
    start = torch.zeros(2, 3, 4, 4)
    before = start.clone()
    end = next(islice(langevin(log_normal, start, 0.1, SeededNoise(0), adjusted=True), 5, None))
    assert torch.equal(start, before)
    assert end.x.shape == start.shape
    assert end.moved.shape == (2,)


def test_a_step_must_be_positive():
    with pytest.raises(UserError, match="must be positive"):
        next(langevin(log_normal, torch.zeros(1, 1), 0.0, SeededNoise(0)))


# ------------------------------------------------------------------------------------------- the corrector alone


class Stay:
    """A step that goes nowhere."""

    def __call__(self, denoise, x_t, t, s, memory, noise):
        return x_t, None


@pytest.mark.parametrize("snr", [0.16, 0.4])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 8, 64])
def test_the_correctors_stationary_distribution(dimensions, snr):
    """Iterated at one level it settles at v/(1 - snr^2 sigma^2/v), v the variance of x there, in any dimensions."""
    process = Affine(VP())
    alpha, sigma, _ = process.schedule.at(0.7)
    one = torch.ones(dimensions, dtype=torch.float64)
    truth = Gaussian(process, MEAN * one, STD**2 * one.diag())
    corrector = PredictorCorrector(process, Stay(), snr=snr)
    noise, v = SeededNoise(11), (alpha * STD) ** 2 + sigma**2
    x = process.corrupt(truth.sample(48_000 // dimensions, noise), 0.7, noise)
    for _ in range(50):
        x, _ = corrector(truth, x, 1.0, 0.7, None, noise)
    assert x.mean().item() == pytest.approx(alpha * MEAN, abs=5 * math.sqrt(v / x.numel()))
    assert x.var().item() == pytest.approx(v / (1 - snr**2 * sigma**2 / v), rel=5 * math.sqrt(2 / x.numel()))
    kurtosis = (((x - alpha * MEAN) ** 4).mean() / x.var() ** 2).item()
    assert kurtosis == pytest.approx(3.0, abs=5 * math.sqrt(24 / x.numel()))  # and it is normal


@pytest.mark.parametrize("dimensions", [1, 2, 8])
def test_the_corrector_keeps_a_mixture(dimensions):
    """Its modes' shares and widths, at a level at which they are apart: small steps leave exact draws as they were."""
    process, centre = Affine(VP()), torch.ones(1, dimensions, dtype=torch.float64)
    truth = GaussianMixture.isotropic(process, torch.cat([-centre, 2 * centre]), 0.3, torch.tensor([0.7, 0.3]).double())
    corrector, noise = PredictorCorrector(process, Stay(), snr=0.1), SeededNoise(5)
    before = process.corrupt(truth.sample(8000, noise), 0.2, noise)
    after = before
    for _ in range(30):
        after, _ = corrector(truth, after, 1.0, 0.2, None, noise)
    assert ks_2samp(before[:, 0], after[:, 0]).pvalue > 1e-3
