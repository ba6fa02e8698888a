"""Averages of the weights equal their closed form, and are as wide as they say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.train.average import WIDEST, Average, power

WIDTHS = st.floats(0.01, 0.27)


@given(WIDTHS, st.integers(1, 60))
def test_closed_form(width, steps):
    """Step s of t counts (s^(gamma+1) - (s-1)^(gamma+1))/t^(gamma+1)."""
    weights = [torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in range(steps)]
    average = Average(width, [torch.full((3, 2), 7.0, dtype=torch.float64)])
    for step, weight in enumerate(weights, 1):
        average.update([weight], step)
    reached = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (power(width) + 1)
    expected = torch.einsum("s,sij->ij", reached.diff(), torch.stack(weights))
    torch.testing.assert_close(average.tensors[0], expected, rtol=1e-12, atol=1e-12)


@given(WIDTHS)
def test_the_width_is_the_standard_deviation_of_the_profile(width):
    """Of the density (gamma + 1) u^gamma on (0, 1), by its moments m_k = (gamma + 1)/(gamma + 1 + k)."""
    first, second = ((power(width) + 1) / (power(width) + 1 + k) for k in (1, 2))
    assert (second - first**2) ** 0.5 == pytest.approx(width, rel=1e-9)


@given(WIDTHS)
def test_constant_weights_are_their_average(width):
    weight = torch.randn(4)
    average = Average(width, [torch.zeros(4)])
    for step in range(1, 20):
        average.update([weight], step)
    torch.testing.assert_close(average.tensors[0], weight)


def test_an_average_is_a_copy():
    weight = torch.zeros(3)
    average = Average(0.1, [weight])
    weight += 1
    assert (average.tensors[0] == 0).all()


@pytest.mark.parametrize("width", [0.0, -0.1, WIDEST, 0.9997])
def test_a_width_out_of_range(width):
    with pytest.raises(UserError, match="share of the training"):
        power(width)
