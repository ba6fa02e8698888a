"""Toys: seeded, finite, labelled in range, and on the supports that they are named for."""

from math import pi

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.synthetic.densities import DENSITIES, Boxes
from undiffuse.data.synthetic.toys import (
    LABEL_COUNTS,
    TOYS,
    checkerboard,
    eight_gaussians,
    moons,
    pinwheel,
    rings,
    spiral,
    swiss_roll,
    toy,
    tree,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", TOYS)
def test_every_toy(name):
    data = toy(name, 1000, seed=3)
    assert data.x.shape == (1000, 1 if name in DENSITIES else 2)
    assert data.x.std(dim=0).min() > 0.1
    assert data.x.abs().max() < 6
    assert (data.labels is not None) == (name in LABEL_COUNTS)
    if data.labels is not None:
        assert len(data.label_names) == LABEL_COUNTS[name]
        assert data.labels.unique().tolist() == list(range(LABEL_COUNTS[name]))
    assert torch.equal(data.x, toy(name, 1000, seed=3).x)
    others = [toy(name, 1000, seed=4), toy(name, 1000, seed=3, split="test"), toy(name, 1000, seed=2, split="test")]
    assert not any(torch.equal(data.x, other.x) for other in others)


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one_and_match_their_draws(name):
    density, count = DENSITIES[name], 20_000
    edges = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    mass = density.log_density(middles[:, None]).exp() * (edges[1] - edges[0])
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    # Kolmogorov-Smirnov: the distance exceeds 1.95 / sqrt(count) once in a thousand seeds
    x = density(count, seeded()).double().flatten().sort().values
    cumulated = mass.cumsum(0)[torch.searchsorted(edges[1:], x).clamp(max=len(mass) - 1)]
    assert (cumulated - (torch.arange(count) + 0.5) / count).abs().max() < 1.95 / count**0.5
    assert density.log_density(x[:, None]).isfinite().all()


def test_a_box_has_no_density_outside():
    box = Boxes(weights=(3, 1), lows=(0, 2), highs=(1, 4))
    inside, gap, outside = box.log_density(torch.tensor([[0.5], [1.5], [-1.0]], dtype=torch.float64)).exp()
    assert (inside, gap, outside) == (0.75, 0, 0)


def test_rolls_lie_on_their_spirals():
    for x, turn in (
        (10 * swiss_roll(500, seeded(), noise=0), (1.5 * pi, 4.5 * pi)),
        (5 * pi * spiral(500, seeded()), (pi / 2, 5.5 * pi)),
    ):
        t = x.norm(dim=1)
        assert turn[0] <= t.min() + 1e-4 and t.max() <= turn[1] + 1e-4
        assert t.max() - t.min() > 0.95 * (turn[1] - turn[0])
        torch.testing.assert_close(x, t[:, None] * torch.stack([t.cos(), t.sin()], dim=1), atol=1e-4, rtol=0)


def test_moons_are_half_circles():
    x, lower = moons(500, seeded(), noise=0)
    upper, below = x[lower == 0], x[lower == 1]
    torch.testing.assert_close(upper.norm(dim=1), torch.ones(len(upper)))
    torch.testing.assert_close((below - torch.tensor([1.0, 0.5])).norm(dim=1), torch.ones(len(below)))
    assert upper[:, 1].min() >= -1e-6 and below[:, 1].max() <= 0.5 + 1e-6


def test_rings_have_their_radii():
    x, k = rings(30_000, seeded())
    for ring in range(3):
        radius = x[k == ring].norm(dim=1)
        assert radius.mean() == pytest.approx((ring + 1) / 3, abs=1e-3)
        assert radius.std() == pytest.approx(0.02, rel=0.05)


def test_eight_gaussians_have_their_means_and_deviations():
    x, k = eight_gaussians(40_000, seeded())
    for bump in range(8):
        angle = torch.tensor(bump * pi / 4)
        mean = 2 * torch.stack([angle.cos(), angle.sin()])
        torch.testing.assert_close(x[k == bump].mean(dim=0), mean, atol=0.01, rtol=0)
        torch.testing.assert_close(x[k == bump].std(dim=0), torch.full((2,), 0.1), atol=0.005, rtol=0)


def test_checkerboard_fills_the_dark_squares_evenly():
    x = checkerboard(40_000, seeded())
    square = x.floor().long()
    assert (square.sum(dim=1) % 2 == 0).all()
    assert square.min() == -2 and square.max() == 1
    counts = (4 * (square[:, 0] + 2) + square[:, 1] + 2).bincount(minlength=16)
    filled = counts[counts > 0].double()
    assert len(filled) == 8
    assert ((filled - 5000) ** 2 / 5000).sum() < 24.3  # chi-squared, 7 degrees of freedom: once in a thousand


def test_pinwheel_is_one_blade_turned():
    x, k = pinwheel(50_000, seeded())
    back = -2 * pi * k / 5
    turned = torch.stack(
        [x[:, 0] * back.cos() - x[:, 1] * back.sin(), x[:, 0] * back.sin() + x[:, 1] * back.cos()], dim=1
    )
    means = torch.stack([turned[k == blade].mean(dim=0) for blade in range(5)])
    assert (means - means.mean(dim=0)).abs().max() < 0.02
    # |x|^2 = radial^2 + across^2, with means 1 + 0.09 and 0.01
    assert x.square().sum(dim=1).mean() == pytest.approx(1.10, abs=0.02)


def test_tree_paths_go_by_their_label():
    x, leaf = tree(30_000, seeded(), noise=0)
    trunk = x.norm(dim=1) < 1
    assert trunk.float().mean() == pytest.approx(1 / 3, abs=0.01)
    heading = pi / 2 + (leaf[trunk] // 9 - 1) * 2 * pi / 3
    along = x[trunk].norm(dim=1, keepdim=True) * torch.stack([heading.cos(), heading.sin()], dim=1)
    torch.testing.assert_close(x[trunk], along, atol=1e-5, rtol=0)
    tips = torch.stack([x[leaf == k][x[leaf == k].norm(dim=1).argmax()] for k in range(27)])
    assert torch.cdist(tips, tips).add(torch.eye(27)).min() > 0.1  # every leaf has a place of its own


def test_mistakes():
    with pytest.raises(UserError, match="did you mean swiss-roll"):
        toy("swissroll", 10)
    with pytest.raises(UserError, match="at least 2"):
        toy("moons", 0)
    with pytest.raises(UserError, match="did you mean test"):
        toy("moons", 10, split="tests")
