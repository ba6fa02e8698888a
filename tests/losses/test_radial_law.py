"""PFGM++'s noise: the right radius for every D and size, in a uniform direction, the same in any batch."""

import math

import pytest
import torch
from scipy.stats import betaprime, chi, kstest
from stand_ins import seeded

from undiffuse.core.noise import SeededNoise
from undiffuse.process import PoissonNoise

SIZES = [1, 2, 64, 3072]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("D", [1.0, 2.0, 128.0, 2048.0, 1e6, 1e9])
def test_radius_follows_its_law(D, size):
    """(R/sigma)^2/D = B/(1 - B), B ~ Beta(size/2, D/2)."""
    radius = PoissonNoise(D).radius(torch.empty(4000, size), seeded())
    assert radius.isfinite().all() and radius.dtype == torch.float64
    assert kstest((radius**2 / D).numpy(), betaprime(size / 2, D / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 2, 64])
def test_many_extra_dimensions_are_gaussian(size):
    radius = PoissonNoise(1e9).radius(torch.empty(4000, size), seeded())
    assert kstest(radius.numpy(), chi(size).cdf).pvalue > 1e-3
    assert PoissonNoise(math.inf).sample(torch.empty(5, size), seeded(2)).equal(seeded(2).normal(torch.empty(5, size)))


@pytest.mark.parametrize("D", [1.0, 1e9])
def test_extreme_draws_stay_finite(D):
    """Uniform numbers next to 0 and 1, where 1 - B underflows."""

    class Extreme:
        def uniform(self, like):
            return torch.tensor([0.0, 2**-53, 0.5, 1 - 2**-53], dtype=torch.float64)

    for size in SIZES:
        radius = PoissonNoise(D).radius(torch.empty(4, size), Extreme())
        assert radius.isfinite().all() and (radius.diff() > 0).all()


def test_directions_are_even():
    z = PoissonNoise(4.0).sample(torch.empty(20_000, 3, dtype=torch.float64), seeded())
    unit = z / z.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit.T @ unit / len(unit), torch.eye(3).double() / 3, rtol=0, atol=0.02)
    assert unit.mean(0).abs().max() < 0.03


def test_a_sample_is_the_same_in_any_batch():
    whole = PoissonNoise(64.0).sample(torch.empty(6, 2, 3), SeededNoise(7))
    part = PoissonNoise(64.0).sample(torch.empty(2, 2, 3), SeededNoise(7, first=3))
    torch.testing.assert_close(whole[3:5], part, rtol=0, atol=0)
