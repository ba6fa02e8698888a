"""Random valid inputs, and noise that turns expectations into sums."""

import itertools
import math

import numpy as np
import torch
from hypothesis import strategies as st
from scipy.optimize import brentq
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
        p.AlphaBars,
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


class Rule:
    """A ``Noise`` that is a rule of integration: every draw is the same nodes, one set a sample of the batch.

    A mean over a batch of one x_0, with the rule's weights, is then an expectation and not an estimate.
    """

    def __init__(self, uniforms: Tensor | None = None, normals: Tensor | None = None) -> None:
        self.uniforms, self.normals = uniforms, normals

    def uniform(self, like: Tensor) -> Tensor:
        return self.uniforms.view_as(like).to(like)

    def normal(self, like: Tensor) -> Tensor:
        return self.normals.view_as(like).to(like)


def midpoints(count: int) -> Tensor:
    """Midpoints of [0, 1] in equal parts, (count,)."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def gauss(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E f(z), z ~ N(0, 1), exact for polynomials of degree below 2 ``count``."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights) / math.sqrt(2 * math.pi)


# ------------------------------------------------------------------------ tokens, by matrices over every state

kernels = st.sampled_from(
    [
        p.UNIFORM,
        p.ABSORBING,
        p.Replace(0.6),
        p.HybridNoise(0.3),
        p.Ordinal(1),
        p.Ordinal(2),
        p.Neighbours(torch.tensor([[1], [0], [1], [1]])),
    ]
)


def _sized(schedule: p.Schedule, kernel: p.Kernel, classes: int) -> p.Categorical:
    return p.Categorical(schedule, kernel, 4 if isinstance(kernel, p.Neighbours) else classes, torch.float64)


categoricals = st.builds(_sized, st.one_of(variance_preserving, st.just(p.Fading())), kernels, st.integers(2, 4))


def transition(process: p.Categorical, t: float, s: float) -> Tensor:
    """q(x_t | x_s), row x_s, column x_t, built from what the process promises, and nothing of its code."""
    kept, kept_s = (1 / (1 + math.exp(-process.schedule.at(time).log_snr)) for time in (t, s))
    match process.kernel:
        case p.Replace(mask=mask):
            return torch.linalg.solve(_replaced(process, mask, kept_s), _replaced(process, mask, kept))
        case p.HybridNoise(uniform=uniform):
            return torch.linalg.solve(_hybrid(process, uniform, kept_s), _hybrid(process, uniform, kept))
        case p.Ordinal(reach=reach):
            walk = _reflected(process.classes, reach)
            slowest = torch.linalg.eigvalsh(walk)[-2]
            return torch.matrix_exp(walk * math.log(kept / kept_s) / slowest)
        case p.Neighbours(edges=edges, walk=walk):
            return _wandered(edges, walk, kept / kept_s)
    raise AssertionError(process.kernel)


def _hybrid(process: p.Categorical, uniform: float, kept: float) -> Tensor:
    """GIDD's mixture (eqs. 5 to 7), by r^2 = u/(1 - u) of the paper's time u at which this share is kept; the mask
    stays."""
    b, k = 2 * uniform / (1 - uniform), process.classes
    r = brentq(lambda r: 1 + b * r + r * r - 1 / kept, 0.0, 1e9, xtol=1e-15, rtol=1e-14)
    matrix = torch.eye(k + 1, dtype=torch.float64)
    matrix[:k, :k] = kept * (torch.eye(k, dtype=torch.float64) + b * r / k)
    matrix[:k, k] = kept * r * r
    return matrix


def _replaced(process: p.Categorical, mask: float, kept: float) -> Tensor:
    """All at once from the data: kept, masked or any class; a mask stays."""
    rows = torch.full((process.states, process.states), (1 - kept) * (1 - mask) / process.classes, dtype=torch.float64)
    rows[:, process.classes :] = (1 - kept) * mask
    rows += kept * torch.eye(process.states, dtype=torch.float64)
    rows[process.classes :] = torch.eye(process.states, dtype=torch.float64)[process.classes :]
    return rows


def _reflected(classes: int, reach: int) -> Tensor:
    """The generator of jumps of -reach ... reach, where positions beyond an end are mirrored back inside."""
    generator = -torch.eye(classes, dtype=torch.float64)
    for start in range(classes):
        for jump in (*range(-reach, 0), *range(1, reach + 1)):
            there = (start + jump) % (2 * classes)
            generator[start, min(there, 2 * classes - 1 - there)] += 1 / (2 * reach)
    return generator


def _wandered(edges: Tensor, walk: float, ratio: float) -> Tensor:
    """A walk on the symmetric graph, until any class is drawn."""
    adjacency = torch.zeros(len(edges), len(edges), dtype=torch.float64)
    for start, others in enumerate(edges.tolist()):
        for there in others:
            adjacency[start, there] += 1
            adjacency[there, start] += 1
    laplacian = (adjacency - adjacency.sum(1).diag()) / adjacency.sum(1).max()
    walked = torch.matrix_exp(-walk * math.log(ratio) * laplacian)
    return ratio * walked + (1 - ratio) / len(edges)


def every_sequence(process: p.Categorical, length: int) -> Tensor:
    """All sequences of states, noise's own included, (states^length, length)."""
    return torch.tensor(list(itertools.product(range(process.states), repeat=length)))


def product_of(probs: Tensor) -> Tensor:
    """Independent tokens, (batch, length, states) -> all sequences, (batch, states^length)."""
    joint = torch.ones(len(probs), 1, dtype=probs.dtype)
    for token in probs.unbind(1):
        joint = (joint[:, :, None] * token[:, None, :]).flatten(1)
    return joint
