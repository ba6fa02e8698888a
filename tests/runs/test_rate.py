"""The learning rate: up in a line, then constant or down, never zero on a step that is taken."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.train.rate import rate


@given(st.integers(1, 500), st.integers(0, 100), st.sampled_from(["constant", "linear", "cosine"]))
def test_it_rises_then_falls(steps, warmup, decay):
    rates = [rate(step, steps, warmup, decay) for step in range(steps)]
    assert all(0 < r <= 1 for r in rates)
    up, down = rates[:warmup], rates[warmup:]
    assert up == sorted(up) and down == sorted(down, reverse=True)
    if down:
        assert down[0] == 1


@pytest.mark.parametrize(("decay", "half"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_half_way(decay, half):
    assert rate(60, 110, 10, decay) == pytest.approx(half)
    assert rate(4, 110, 10, decay) == 0.5
    assert math.isclose(rate(10, 110, 10, decay), 1.0)
