"""Every measure against an independent implementation, in float64 by brute force, on data that is no cloud.

Repeated rows, a few distinct values, an outlier, rows in order, too few dimensions, one dimension, far from the origin,
tight clusters far apart, columns of very different scales: whatever the data, a number is right.
"""

import sys
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from undiffuse.core.errors import UserError
from undiffuse.data.column import Column
from undiffuse.measure import (
    directions,
    energy_distance,
    frechet_distance,
    manifold,
    memorisation,
    mmd,
    sliced_wasserstein,
)
from undiffuse.measure.inception_score import inception_score
from undiffuse.measure.kid import kid
from undiffuse.measure.mmd import SCALES
from undiffuse.measure.neighbours import nearest
from undiffuse.measure.table import BINS, _Binned, column_distances
from undiffuse.measure.text import variation

N, M = 180, 230


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(count, d, high, seed=0):
    return torch.randint(high, (count, d), generator=torch.Generator().manual_seed(seed)).float()


def with_one(x, value):
    return torch.cat([x, torch.full_like(x[:1], value)])


def clusters(count, d, seed=0):
    """Two, far apart, each finer than a matrix product in float32 can see."""
    where = torch.where(torch.arange(count) % 2 == 0, -100.0, 100.0)[:, None] * (torch.arange(d) == 0)
    return where + 1e-3 * normal(count, d, seed=seed)


def pairs(d):
    """Samples and data of ``d`` dimensions, float32."""
    x, y = 0.2 + normal(N, d), 1.1 * normal(M, d, seed=1)
    plane = normal(2, d, seed=2)
    scales = torch.logspace(-3, 3, d)
    return {
        "a cloud": (x, y),
        "repeated rows": (x[:40].repeat(5, 1), torch.cat([y, y[:90], x[:20]])),
        "a few distinct values": (whole(N, d, 3), whole(M, d, 3, seed=1)),
        "an outlier among the data": (x, with_one(y, 300.0)),
        "an outlier among the samples": (with_one(x, 300.0), y),
        "in order": (x.sort(0).values, y.sort(0).values),
        "too few dimensions": (x[:, :1] @ plane[:1] + 0.1 * x[:, -1:] @ plane[1:], y[:, :1] @ plane[:1]),
        "far from the origin": (1e5 + x, 1e5 + y),
        "clusters": (clusters(N, d), clusters(M, d, seed=1)),
        "scales": (x * scales, y * scales),
    }


CASES = [
    pytest.param(x, y, id=f"{name}, {d}") for d in (1, 3, 40) for name, (x, y) in pairs(d).items()
]  # 40: beyond what is subtracted
every = pytest.mark.parametrize(("x", "y"), CASES)


def by_definition(x, y, k):
    def reach(points):
        distances = cdist(points, points)
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, 1)[:, k - 1]

    between = cdist(x, y)
    inside = between <= reach(y) * (1 + 1e-12)  # sums in another order
    recalled = between <= reach(x)[:, None] * (1 + 1e-12)
    return inside.any(1).mean(), recalled.any(0).mean(), inside.sum(1).mean() / k, inside.any(0).mean()


@every
@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_and_coverage_are_brute_force(x, y, k):
    expected = by_definition(x.double().numpy(), y.double().numpy(), k)
    assert tuple(manifold(x, y, k=k)) == pytest.approx(expected, abs=1e-12)


@every
def test_neighbours_and_copies_are_those_of_a_tree(x, y):
    """scikit-learn's k-d tree, which subtracts."""
    tree = NearestNeighbors(algorithm="kd_tree").fit(y.double().numpy())
    expected = tree.kneighbors(x.double().numpy(), 3)[0]
    np.testing.assert_allclose(nearest(x, y, 3)[0].numpy(), expected, rtol=1e-6)
    held_out = torch.cat([x[::2], y[:7]])
    found = memorisation(x, y, held_out, quantile=0.1)
    ours, theirs = expected[:, 0], tree.kneighbors(held_out.double().numpy(), 1)[0][:, 0]
    threshold = np.quantile(theirs, 0.1, method="lower")
    assert found.distance == pytest.approx(np.sort(ours)[(len(ours) - 1) // 2], rel=1e-6)
    assert found.copied == pytest.approx((ours <= threshold * (1 + 1e-9)).mean())
    assert found.quantile == pytest.approx((theirs <= threshold * (1 + 1e-9)).mean())


@every
def test_the_energy_distance_is_brute_force(x, y):
    a, b = x.double().numpy(), y.double().numpy()
    squared = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    if x.shape[1] == 1:
        assert squared == pytest.approx(scipy.stats.energy_distance(a[:, 0], b[:, 0]) ** 2, rel=1e-6, abs=1e-9)
    assert energy_distance(x, y) ** 2 == pytest.approx(squared, rel=1e-5, abs=1e-9)


@every
def test_mmd_is_brute_force(x, y):
    a, b = x.double().numpy(), y.double().numpy()
    apart = np.sort(pdist(b)[pdist(b) > 0])
    width = apart[(len(apart) - 1) // 2]

    def mean(p, q):
        squared = cdist(p, q, "sqeuclidean")
        return np.mean([np.exp(-squared / (2 * (scale * width) ** 2)).mean() for scale in SCALES])

    assert mmd(x, y) ** 2 == pytest.approx(mean(a, a) + mean(b, b) - 2 * mean(a, b), rel=1e-5, abs=1e-9)


@every
def test_sliced_wasserstein_is_that_of_as_many_rows(x, y):
    """Every row of either repeated as often as the other has rows, which changes no law: pairs in sorted order."""
    lines = directions(16, x.shape[1], seed=3).numpy()
    a, b = (np.sort(lines @ (part.double() - y.double().mean(0)).numpy().T, 1) for part in (x, y))
    squared = (np.repeat(a, b.shape[1], 1) - np.repeat(b, a.shape[1], 1)) ** 2
    assert sliced_wasserstein(x, y, projections=16, seed=3) == pytest.approx(np.sqrt(squared.mean()), rel=1e-6)


@every
def test_the_frechet_distance_is_that_of_the_covariances(x, y):
    """tr (C_1 C_2)^(1/2) as the trace of the root of C_1^(1/2) C_2 C_1^(1/2), which has real eigenvalues."""
    a, b = x.double().numpy(), y.double().numpy()
    c, e = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (a, b))
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ e @ root).clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c) + np.trace(e) - 2 * overlap
    scale = np.trace(c) + np.trace(e)  # what the reference cancels
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale)


@every
def test_kid_is_the_polynomial_kernel_s(x, y):
    def within(p):
        values = polynomial_kernel(p, degree=3, coef0=1)
        return (values.sum() - np.trace(values)) / (len(p) * (len(p) - 1))

    a, b = x.double().numpy(), y.double().numpy()
    terms = within(a), within(b), -2 * polynomial_kernel(a, b, degree=3, coef0=1).mean()
    assert kid(x, y) == pytest.approx(sum(terms), abs=1e-9 * max(map(abs, terms)))


@pytest.mark.parametrize("p", [np.eye(4)[[0, 0, 0, 1]], np.full((5, 3), 1 / 3), np.array([[1.0, 0, 0]])], ids=str)
def test_the_inception_score_is_the_relative_entropy_of_scipy(p):
    expected = np.exp(np.mean([scipy.stats.entropy(row, p.mean(0)) for row in p]))
    assert inception_score(torch.tensor(p)) == pytest.approx(expected)


def cells(count, seed):
    """A number, one with holes and ties, a category with holes."""
    x = torch.stack([normal(count, seed=seed), whole(count, 1, 4, seed)[:, 0], whole(count, 1, 3, seed + 9)[:, 0]], 1)
    x[whole(count, 1, 5, seed + 1)[:, 0] == 0, 1] = torch.nan
    x[whole(count, 1, 6, seed + 2)[:, 0] == 0, 2] = torch.nan
    return x.double()


SCHEMA = (Column("x", "number"), Column("y", "number", missing=""), Column("hue", "category", ("red", "blue", "green")))


def test_distances_of_columns_are_scipy_s():
    a, b = cells(N, 0), cells(M, 7)
    p, q = (part.nan_to_num(nan=-1e9).numpy() for part in (a, b))
    smirnov = [scipy.stats.ks_2samp(p[:, k], q[:, k]).statistic for k in range(2)]
    counts = [Counter(part[:, 2].tolist()) for part in (p, q)]
    variation_of_hue = sum(abs(counts[0][k] / N - counts[1][k] / M) for k in (-1e9, 0, 1, 2)) / 2
    assert column_distances(a, b, SCHEMA) == pytest.approx([*smirnov, variation_of_hue])


def test_distances_of_pairs_are_those_of_their_joint_tables():
    a, b, real = cells(N, 0), cells(M, 7), cells(400, 3)
    edges = [np.nanquantile(real[:, k].numpy(), np.linspace(0, 1, BINS + 1)[1:-1]) for k in range(2)]

    def labels(rows):
        for row in rows.tolist():
            numbers = [None if np.isnan(v) else int((edges[k] < v).sum()) for k, v in enumerate(row[:2])]
            yield (*numbers, None if np.isnan(row[2]) else row[2])

    def gap(i, j):
        p, q = (Counter((row[i], row[j]) for row in labels(rows)) for rows in (a, b))
        return sum(abs(p[key] / N - q[key] / M) for key in p | q) / 2

    expected = np.mean([gap(i, j) for i, j in combinations(range(3), 2)])
    assert _Binned(real, SCHEMA).pair_distance(a, b) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("run", [1, 2, 4])
def test_frequencies_of_tokens_are_counted(run):
    x, y = whole(30, 12, 5).to(torch.uint8), whole(20, 12, 7, seed=1).to(torch.uint8)
    counts = [
        Counter(tuple(row[i : i + run]) for row in part.tolist() for i in range(len(row) - run + 1)) for part in (x, y)
    ]
    totals = [sum(part.values()) for part in counts]
    keys = counts[0] | counts[1]
    expected = sum(abs(counts[0][k] / totals[0] - counts[1][k] / totals[1]) for k in keys) / 2
    assert variation(x, y, run) == pytest.approx(expected)


def test_data_that_mostly_repeats_has_a_bandwidth():
    """Most pairs of rows are at no distance; those that differ say how wide to look."""
    y = (torch.arange(100) < 10).float()[:, None]
    assert mmd(y, y) == pytest.approx(0, abs=1e-6) and mmd(1 - y, y) > 0.5
    with pytest.raises(UserError, match="constant"):
        mmd(y, torch.zeros(9, 1))


def test_a_device_without_float64_measures_in_float32(monkeypatch):
    """As `precise` answers there; the law is the same, to what float32 can tell."""
    x, y = pairs(40)["an outlier among the data"]
    expected = tuple(manifold(x, y)), energy_distance(x, y), mmd(x, y), kid(x, y)
    for module in ("neighbours", "kid", "mmd", "sliced_wasserstein"):
        monkeypatch.setattr(sys.modules[f"undiffuse.measure.{module}"], "precise", torch.Tensor.float)
    assert tuple(manifold(x, y)) == pytest.approx(expected[0], abs=0.01)
    assert (energy_distance(x, y), mmd(x, y), kid(x, y)) == pytest.approx(expected[1:], rel=1e-3)
    copies = y.repeat(2, 1)
    assert manifold(copies, copies.flip(0))[:2] == (1, 1)
