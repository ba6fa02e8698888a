"""Laws of the distances between laws: sliced Wasserstein, energy, MMD, Frechet."""

import math

import numpy as np
import ot
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.measure import (
    directions,
    energy_distance,
    energy_distance_squared,
    frechet_distance,
    mmd,
    mmd_squared,
    sliced_wasserstein,
)
from undiffuse.measure.mmd import discrepancy, median_distance

DISTANCES = {
    "sliced Wasserstein": sliced_wasserstein,
    "energy": energy_distance,
    "MMD": lambda x, y: mmd(x, y, bandwidths=[0.5, 2.0]),
    "Frechet": frechet_distance,
}
every = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(count, mean, covariance, seed=0):
    """Rows whose sample mean and covariance are exactly these."""
    x = normal(count, len(mean), seed=seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T @ x / (count - 1)), x.T, upper=False).T
    return mean + white @ torch.linalg.cholesky(covariance).T


# What holds for all


@every
@pytest.mark.parametrize("shape", [(1,), (2,), (40,), (1, 5, 5)], ids=str)
def test_zero_for_the_same_rows_in_any_order(distance, shape):
    x = 3 + normal(50, *shape)
    assert distance(x, x.flip(0)) < 1e-4
    assert distance(x, x.flip(0) + 0.5) > 0.01


@every
@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 20), seed=st.integers(0, 1000))
def test_symmetric_and_blind_to_order(distance, n, m, d, seed):
    x, y = normal(n, d, seed=seed), 1 + 2 * normal(m, d, seed=seed + 1)
    value = distance(x, y)
    assert value >= 0
    assert distance(y, x) == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert distance(x.flip(0), y.roll(1, 0)) == pytest.approx(value, rel=1e-6, abs=1e-6)


@every
def test_repeating_every_row_changes_no_law(distance):
    """Which makes counts unequal, and holds for every V-statistic. Frechet's covariance is over n - 1."""
    x, y = normal(20, 3), 1 + normal(30, 3, seed=1)
    tolerance = 0.1 if distance is frechet_distance else 1e-9
    assert distance(x.repeat(3, 1), y) == pytest.approx(distance(x, y), rel=tolerance)


@every
def test_float32_agrees_with_float64_far_from_the_origin(distance):
    x, y = 100 + normal(200, 30), 100.3 + normal(300, 30, seed=1)
    assert distance(x.float(), y.float()) == pytest.approx(distance(x, y), rel=1e-3)


@every
def test_bytes_and_half_precision_are_measured_in_float32(distance):
    x = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = x.flip(0)[:30]
    assert distance(x, y) == pytest.approx(distance(x.float(), y.float()))
    assert distance(x.bfloat16(), y.float()) == pytest.approx(distance(x.float(), y.float()), rel=0.02, abs=0.02)


@every
def test_bad_rows_are_one_line_to_the_user(distance):
    x = normal(10, 2)
    broken = x.clone()
    broken[2:5, 1] = torch.nan
    broken[7] = torch.inf
    with pytest.raises(UserError, match="4 of 10 samples hold NaN or infinite values"):
        distance(broken, x)
    with pytest.raises(UserError, match="4 of 10 rows of data"):
        distance(x, broken)
    with pytest.raises(UserError, match=r"shape \(2,\) and the data \(3,\)"):
        distance(x, normal(10, 3))
    with pytest.raises(UserError, match="0 samples: this measure needs at least"):
        distance(x[:0], x)


# Sliced Wasserstein


def test_on_a_line_it_is_the_wasserstein_distance_of_gaussians():
    """W_2^2 = (mu_1 - mu_2)^2 + (sigma_1 - sigma_2)^2, on quantiles in place of random points."""
    q = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    z = torch.special.ndtri(q)
    value = sliced_wasserstein((1 + 2 * z)[:, None], (-0.5 + 0.7 * z)[:, None])
    assert value == pytest.approx(math.hypot(1.5, 1.3), rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(7, 7), (7, 12), (30, 4), (1, 9), (100, 64)])
def test_on_a_line_it_is_exact_at_any_counts(n, m):
    x, y = normal(n, 1), 1 + 2 * normal(m, 1, seed=1)
    expected = ot.wasserstein_1d(x[:, 0].numpy(), y[:, 0].numpy(), p=2)
    assert sliced_wasserstein(x, y) == pytest.approx(math.sqrt(expected), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 47)])
def test_agrees_with_python_optimal_transport(n, m):
    x, y = normal(n, 5), 0.3 + 1.5 * normal(m, 5, seed=1)
    lines = directions(64, 5, seed=3).T.numpy()
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=lines, p=2)
    assert sliced_wasserstein(x, y, projections=64, seed=3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("d", [2, 10, 100])
def test_a_shift_costs_its_length_over_root_d(d):
    """W_2 along theta is |theta . s|, and E (theta . s)^2 = |s|^2 / d, whatever the law."""
    x, shift = normal(50, d), normal(d, seed=1)
    value = sliced_wasserstein(x + shift, x, projections=20_000)
    assert value == pytest.approx(float(shift.norm()) / math.sqrt(d), rel=0.03)


def test_the_seed_decides_the_lines():
    x, y = normal(50, 4), normal(50, 4, seed=1)
    one, again, other = (sliced_wasserstein(x, y, projections=8, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    with pytest.raises(UserError, match="projections must be at least 1"):
        sliced_wasserstein(x, y, projections=0)


def test_lines_in_blocks_are_the_lines_at_once():
    x, y = normal(50, 4), normal(70, 4, seed=1)
    assert sliced_wasserstein(x, y, block=1000) == pytest.approx(sliced_wasserstein(x, y), rel=1e-12)


# Energy distance


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (2, 90)])
def test_energy_on_a_line_is_scipys(n, m):
    x, y = normal(n, 1), 0.5 + normal(m, 1, seed=1)
    expected = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize("unbiased", [True, False])
def test_energy_by_its_definition(d, unbiased):
    x, y = normal(12, d), 0.5 + normal(9, d, seed=1)

    def within(a):
        pairs = torch.pdist(a)
        return 2 * pairs.sum() / (len(a) * (len(a) - unbiased))

    expected = 2 * torch.cdist(x, y).mean() - within(x) - within(y)
    assert energy_distance_squared(x, y, unbiased=unbiased) == pytest.approx(float(expected), rel=1e-9)


# Maximum mean discrepancy


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("d", [2, 30])
def test_mmd_by_brute_force(d, unbiased):
    x, y, widths = normal(7, d), 0.5 + normal(5, d, seed=1), [0.7, 3.0]

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (2 * h * h)) for h in widths) / len(widths)

    def within(rows):
        n = len(rows)
        pairs = [kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j or not unbiased]
        return sum(pairs) / len(pairs)

    expected = within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    assert mmd_squared(x, y, bandwidths=widths, unbiased=unbiased) == pytest.approx(expected, rel=1e-9)


def test_mmd_of_gaussians_in_closed_form():
    """E exp(-(x - y)^2 / 2 h^2) = h / sqrt(h^2 + s^2) exp(-m^2 / 2 (h^2 + s^2)) for x - y normal (m, s^2)."""
    z = torch.special.ndtri((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000)[:, None]
    x, y, h = z, 1 + 2 * z, 1.5

    def expected(mean, variance):
        return h / math.sqrt(h * h + variance) * math.exp(-mean * mean / (2 * (h * h + variance)))

    truth = expected(0, 2) + expected(0, 8) - 2 * expected(1, 5)
    assert mmd_squared(x, y, bandwidths=[h], unbiased=False) == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("statistic", [energy_distance_squared, mmd_squared])
def test_the_u_statistic_is_unbiased_and_the_v_statistic_is_not(statistic):
    values = torch.tensor(
        [[statistic(normal(10, 2, seed=s), normal(10, 2, seed=s + 999), unbiased=u) for u in (True, False)]
         for s in range(300)]
    )  # fmt: skip
    mean, error = values.mean(0), values.std(0) / math.sqrt(len(values))
    assert abs(mean[0]) < 4 * error[0]
    assert mean[1] > 10 * error[1]
    assert (values[:, 0] < 0).any()
    assert (values[:, 1] >= 0).all()


def test_blocks_change_nothing():
    x, y = normal(40, 20), normal(33, 20, seed=1)

    def kernel(squared):
        return (-squared).exp().sum(1)

    values = [discrepancy(x, y, kernel, True, block) for block in (1, 50, 10**6)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)


def test_the_bandwidth_is_the_median_distance():
    x = torch.tensor([[0.0], [1.0], [3.0]])
    assert median_distance(x) == 2.0
    assert median_distance(normal(5000, 1)) == pytest.approx(0.954, rel=0.05)  # of |N(0, 2)|: 0.6745 sqrt 2
    with pytest.raises(UserError, match="bandwidth above zero"):
        mmd(torch.zeros(4, 2), torch.zeros(4, 2))


# Frechet distance


def covariance(d, seed):
    root = normal(d, d, seed=seed)
    return root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 8])
def test_frechet_between_known_gaussians(d):
    """Rows with exact moments, the matrix root by scipy."""
    mean_x, mean_y, cov_x, cov_y = normal(d), normal(d, seed=1), covariance(d, 2), covariance(d, 3)
    x, y = with_moments(40, mean_x, cov_x, seed=4), with_moments(55, mean_y, cov_y, seed=5)
    root = scipy.linalg.sqrtm((cov_x @ cov_y).numpy()).real
    expected = float((mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace()) - 2 * np.trace(root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_frechet_with_fewer_rows_than_features():
    """Rank one against rank one: rows along two lines, variances a and b, at an angle: a + b - 2 sqrt(ab) |cos|."""
    u, v = normal(50), normal(50, seed=1)
    x, y = torch.stack([-u, u]), torch.stack([-v, 0 * v, v])
    a, b, cosine = 2 * float(u @ u), float(v @ v), float(u @ v / (u.norm() * v.norm()))
    assert frechet_distance(x, y) == pytest.approx(a + b - 2 * math.sqrt(a * b) * abs(cosine), rel=1e-9)


def test_frechet_of_a_constant_set_is_mean_and_variance():
    x, y = torch.zeros(5, 3, dtype=torch.float64), with_moments(9, torch.ones(3).double(), torch.eye(3).double())
    assert frechet_distance(x, y) == pytest.approx(3 + 3, rel=1e-9)


def test_frechet_is_biased_upwards_as_documented():
    few, many = (frechet_distance(normal(n, 10), normal(n, 10, seed=1)) for n in (50, 5000))
    assert few > 20 * many
