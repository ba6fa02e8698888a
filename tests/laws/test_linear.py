"""a x + b y is a x + b y, in whatever way it is computed, and leaves x and y alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import floats

from undiffuse.core.linear import combine, expand, scale

special = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0])
numbers = st.one_of(special, floats(-5, 5))


def states() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 2, 4, dtype=torch.float64, generator=generator) for _ in range(2))


@given(numbers, numbers)
def test_combine(a, b):
    x, y = states()
    keep_x, keep_y = x.clone(), y.clone()
    found = combine(a, x, b, y)
    torch.testing.assert_close(found, a * x + b * y, rtol=1e-8, atol=1e-8)
    found.zero_()
    assert torch.equal(x, keep_x) and torch.equal(y, keep_y)  # neither written into nor aliased


@given(numbers)
def test_combine_to_one(a):
    x, y = states()
    torch.testing.assert_close(combine(a, x, 1.0 - a, y), a * x + (1 - a) * y, rtol=1e-8, atol=1e-8)


@given(st.lists(numbers, min_size=3, max_size=3), st.one_of(numbers, st.just(torch.tensor([1.0, 0.0, -2.0]))))
def test_a_coefficient_a_sample(a, b):
    x, y = states()
    column = torch.tensor(a, dtype=torch.float64)
    found = combine(column, x, b, y)
    b_column = b.double().view(3, 1, 1) if isinstance(b, torch.Tensor) else b
    torch.testing.assert_close(found, column.view(3, 1, 1) * x + b_column * y)


@given(numbers)
def test_scale(a):
    x, _ = states()
    torch.testing.assert_close(scale(a, x), a * x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_state_decides_the_dtype(dtype):
    x = torch.ones(3, 2, dtype=dtype)
    t = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert combine(t, x, 0.5, x).dtype == dtype and combine(0.3, x, 0.5, x).dtype == dtype
    assert expand(t, x).shape == (3, 1) and expand(torch.tensor(0.5), x) == 0.5
