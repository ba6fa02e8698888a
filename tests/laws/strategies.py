"""Random valid inputs, and noise that turns expectations into sums."""

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

from undiffuse import process as p


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


tables = st.one_of(
    st.builds(p.Linear, floats(1e-5, 1e-3), floats(5e-3, 0.05), st.integers(50, 300)),
    st.builds(p.ScaledLinear, floats(1e-4, 2e-3), floats(5e-3, 0.05), st.integers(50, 300)),
    st.builds(p.SigmoidBetas, floats(1e-5, 1e-3), floats(5e-3, 0.05), st.integers(50, 300)),
    st.builds(p.CosineTable, floats(1e-3, 0.02), st.integers(10, 300)),
    st.builds(
        p.Given,
        st.lists(floats(1e-4, 0.9999), min_size=2, max_size=20, unique=True).map(
            lambda values: tuple(sorted({round(v, 4) for v in values}, reverse=True))
        ),
    ),
)
variance_preserving = st.one_of(
    st.builds(p.VP, floats(0.01, 1), floats(5, 25)),
    st.builds(p.Cosine, floats(1e-3, 0.02), floats(-25, -5)),
    st.builds(p.Sigmoid, floats(-4, -1), floats(1, 4), floats(0.5, 1.5), floats(-25, -8)),
    tables,
)
ending_in_some_data = st.one_of(
    variance_preserving,
    st.builds(p.SubVP, floats(0.01, 1), floats(5, 25)),
    st.builds(p.LogLinear, floats(1e-3, 0.05), floats(5, 100), floats(1e-4, 0.01)),
    st.builds(p.EDM, floats(1e-3, 0.02), floats(20, 100), floats(2, 9), floats(1e-4, 0.01)),
)
ending_in_noise = st.one_of(
    st.just(p.Flow()),
    st.just(p.Fading()),
    st.builds(p.ZeroTerminal, variance_preserving),
    st.builds(p.ZeroTerminalTable, tables),
)
plain = st.one_of(ending_in_some_data, ending_in_noise)
schedules = st.one_of(plain, st.builds(p.Shifted, plain, floats(0.3, 6)))
inner_times = floats(2e-3, 0.998)


class GridNoise:
    """A ``Noise`` that is a rule of integration: draw k of every sample is the rule's k-th axis, weights aside.

    One draw of n nodes, or two of n^2: a mean over the batch of the same x_0 is then an expectation.
    """

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms  # (batch, *shape)

    def uniform(self, like: Tensor) -> Tensor:
        return self.uniforms.view_as(like).to(like)

    def normal(self, like: Tensor) -> Tensor:
        u = self.uniforms.view_as(like).double()
        return (math.sqrt(2) * torch.erfinv(2 * u - 1)).to(like)


def midpoints(count: int, axes: int = 1) -> Tensor:
    """Midpoints of [0, 1]^axes, (count^axes, axes)."""
    one = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.cartesian_prod(*[one] * axes).view(-1, axes)
