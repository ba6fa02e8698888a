"""Laws of everything that rests on nearest neighbours: precision to coverage, memorisation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.measure import manifold, memorisation, nearest_distances
from undiffuse.measure.neighbours import nearest


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Nearest neighbours


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 20), m=st.integers(4, 30), d=st.integers(1, 40), k=st.integers(1, 3), block=st.integers(1, 500))
def test_nearest_is_brute_force_in_any_blocks(n, m, d, k, block):
    x, y = 5 + normal(n, d, seed=n), 5 + normal(m, d, seed=m + 100)
    expected = (x[:, None] - y).norm(dim=2).sort(1)
    distances, indices = nearest(x, y, k, block)
    torch.testing.assert_close(distances, expected.values[:, :k])
    torch.testing.assert_close(indices, expected.indices[:, :k])


@pytest.mark.parametrize("d", [2, 40])
def test_no_row_is_its_own_neighbour_but_a_twin_is(d):
    x = normal(20, d)
    x[7] = x[3]
    distances, indices = nearest(x, x, block=100)
    assert (indices[:, 0] != torch.arange(20)).all()
    assert indices[3] == 7
    assert distances[3] == distances[7] == 0
    assert (distances > 0).sum() == 18


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_float32_finds_copies_at_exactly_zero(offset):
    y = offset + normal(500, 100, dtype=torch.float32)
    assert (nearest_distances(y[::5], y) == 0).all()


# Precision, recall, density, coverage


def by_definition(x, y, k):
    def reach(points):
        return torch.cdist(points, points).sort(1).values[:, k]

    inside_data = torch.cdist(x, y) <= reach(y)  # (n, m)
    inside_samples = torch.cdist(y, x) <= reach(x)  # (m, n)
    shares = (inside_data.any(1), inside_samples.any(1), inside_data.sum(1) / k, inside_data.any(0))
    return [float(share.double().mean()) for share in shares]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(6, 30), m=st.integers(6, 30), d=st.integers(1, 30), k=st.integers(1, 5), block=st.integers(1, 500))
def test_manifold_by_definition_in_any_blocks(n, m, d, k, block):
    x, y = normal(n, d, seed=n), 0.3 + 1.2 * normal(m, d, seed=m + 100)
    assert list(manifold(x, y, k=k, block=block)) == pytest.approx(by_definition(x, y, k))


def test_manifold_by_hand():
    """Balls of radius 1 around 0, 1, 10, 11 (k = 1); samples at 0.5, 1.5, 5, 7: two inside, near one pair."""
    data, samples = torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([[0.5], [1.5], [5.0], [7.0]])
    found = manifold(samples, data, k=1)
    assert found.precision == 0.5  # 0.5 and 1.5
    assert found.density == 3 / 4  # 0.5 in two balls, 1.5 in one
    assert found.coverage == 0.5  # 0 and 1
    assert found.recall == 0.5  # 0 is 0.5 from 0.5 (radius 1), 1 likewise; 10 is 3 from 7 (radius 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [2, 60])
def test_a_set_against_itself_is_perfect(d, dtype):
    x = 10 + normal(80, d, dtype=dtype)
    found = manifold(x, x.flip(0), k=5)
    assert found == (1.0, 1.0, pytest.approx(6 / 5), 1.0)  # a ball holds its k neighbours and its own centre


@pytest.mark.parametrize("d", [2, 60])
def test_copies_of_repeated_rows_are_inside_balls_of_radius_zero(d):
    x = (3 + normal(4, d, dtype=torch.float32)).repeat(10, 1)
    assert manifold(x, x.flip(0), k=5)[:2] == (1.0, 1.0)


def test_far_samples_are_nowhere_and_collapsed_samples_cover_little():
    data = normal(300, 2)
    assert manifold(data + 100, data) == (0, 0, 0, 0)
    collapsed = manifold(0.05 * normal(300, 2, seed=1), data)
    assert collapsed.precision > 0.99
    assert collapsed.recall < 0.1
    assert collapsed.coverage < 0.2


def test_an_outlier_among_the_data_moves_precision_not_density():
    """The reason that density exists (Naeem et al. 2020, figure 2)."""
    data, noise = normal(200, 2), 8 * normal(200, 2, seed=1)
    outlier = torch.tensor([[20.0, 20.0]], dtype=torch.float64)
    without, with_it = manifold(noise, data), manifold(noise, torch.cat([data, outlier]))
    assert with_it.precision - without.precision > 0.3
    assert with_it.density - without.density < 0.1


def test_manifold_asks_for_enough_rows():
    with pytest.raises(UserError, match="5 samples: this measure needs at least 6"):
        manifold(normal(5, 2), normal(9, 2))
    with pytest.raises(UserError, match="k must be at least 1"):
        manifold(normal(9, 2), normal(9, 2), k=0)


# Memorisation


def test_planted_copies_are_found_and_new_samples_are_not():
    train, held_out, new = normal(2000, 20), normal(1000, 20, seed=1), normal(1000, 20, seed=2)
    honest = memorisation(new, train, held_out)
    assert honest.distance == pytest.approx(honest.held_out, rel=0.05)
    assert honest.copied < 0.03
    half = memorisation(torch.cat([new[:500], train[:500] + 0.01 * normal(500, 20, seed=3)]), train, held_out)
    assert half.copied == pytest.approx(0.5, abs=0.02)
    copies = memorisation(train[:100], train, held_out)
    assert copies.copied == 1
    assert copies.distance == 0


def test_held_out_data_measured_as_samples_meets_its_own_floor():
    train, held_out = normal(500, 3), normal(1000, 3, seed=1)
    found = memorisation(held_out, train, held_out, quantile=0.1)
    assert found.distance == found.held_out
    assert found.copied == pytest.approx(0.1, abs=0.002)


def test_copies_are_found_even_where_held_out_data_repeats_training_data():
    train = normal(50, 3)
    assert memorisation(train[:10], train, train[10:20]).copied == 1


def test_memorisation_of_bad_input():
    x = normal(10, 3)
    with pytest.raises(UserError, match="quantile must be a share"):
        memorisation(x, x, x, quantile=5)
    with pytest.raises(UserError, match="10 of 10 samples"):
        memorisation(x / 0, x, x)
