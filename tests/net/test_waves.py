"""Embeddings: bounded, every level unlike every other, and -1 is "no label"."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.condition.waves import GaussianFourier, Sinusoidal, sinusoidal_table
from undiffuse.core.errors import UserError

WAVES = [Sinusoidal, GaussianFourier]
LEVELS = torch.linspace(-20, 20, 401, dtype=torch.float64)  # a tenth of a nat apart


@pytest.mark.parametrize("waves", WAVES)
@given(width=st.integers(1, 64).map(lambda half: 2 * half), level=st.floats(-20, 20))
def test_waves_lie_on_circles(waves, width, level):
    sine, cosine = waves(width).double()(torch.tensor(level, dtype=torch.float64)).chunk(2)
    assert sine.shape == cosine.shape == (width // 2,)
    assert torch.allclose(sine**2 + cosine**2, torch.ones_like(sine))


@pytest.mark.parametrize("waves", WAVES)
@pytest.mark.parametrize("width", [16, 64])
def test_levels_look_different(waves, width):
    torch.manual_seed(0)
    features = waves(width).double()(LEVELS)
    apart = torch.pdist(features) / math.sqrt(width)
    assert apart.min() > 0.02


def test_longest_sine_wave_increases_over_all_levels():
    assert (Sinusoidal(2).double()(LEVELS)[:, 0].diff() > 0).all()


@given(longest=st.floats(10, 100), ratio=st.floats(1.1, 100))
def test_sinusoidal_periods_are_as_asked(longest, ratio):
    waves = Sinusoidal(8, longest=longest, shortest=longest / ratio)
    periods = 2 * math.pi / waves.frequencies.double()
    assert math.isclose(periods[0], longest, rel_tol=1e-5)
    assert math.isclose(periods[-1], longest / ratio, rel_tol=1e-5)
    assert torch.allclose(periods.log().diff(), periods.log().diff().mean(), atol=1e-5)


@pytest.mark.parametrize("bandwidth", [0.5, 2.0])
def test_gaussian_fourier_kernel(bandwidth):
    """features(v) . features(0) / n is a Gaussian of v: its expectation over the random frequencies."""
    torch.manual_seed(0)
    half = 100_000
    features = GaussianFourier(2 * half, bandwidth)(torch.tensor([0.0, 0.3, 1.0]))
    kernel = features @ features[0] / half
    expected = torch.exp(-((bandwidth * torch.tensor([0.0, 0.3, 1.0])) ** 2) / 2)
    assert torch.allclose(kernel, expected, atol=5 / math.sqrt(half))


def test_table_rows_are_shifts_of_each_other():
    """The embedding of i + k is one rotation, the same for all i, of the embedding of i (Vaswani et al. 2017)."""
    table = sinusoidal_table(50, 16).double()
    circle = torch.complex(table[:, 8:], table[:, :8])  # cos + i sin
    assert torch.allclose(circle[7:], circle[:-7] * circle[7] / circle[0], atol=1e-5)
    assert torch.equal(table[0], torch.tensor([0.0] * 8 + [1.0] * 8, dtype=torch.float64))


@pytest.mark.parametrize("make", [Sinusoidal, GaussianFourier, lambda width: sinusoidal_table(10, width)])
@pytest.mark.parametrize("width", [-2, 0, 7])
def test_an_odd_or_empty_width_is_refused(make, width):
    with pytest.raises(UserError, match=f"even, not {width}"):
        make(width)
