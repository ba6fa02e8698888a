"""Denoising is projection: the smoothed distance, the error of projecting, the map that memorises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import floats

from undiffuse.denoiser.prediction import to_eps
from undiffuse.exact import Empirical, GaussianMixture
from undiffuse.process import EDM, Affine, Cosine, Flow, LogLinear
from undiffuse.theory.projection import memorising_map, project, projection_error, smooth_squared_distance

EXPLODING = Affine(LogLinear(0.01, 50.0))


def points(seed: int = 0, count: int = 6) -> torch.Tensor:
    return torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(floats(0.02, 5), st.integers(0, 1000))
def test_half_the_gradient_of_the_squared_distance_is_the_step_of_the_ideal_denoiser(sigma, seed):
    """1/2 grad dist^2_sigma = sigma eps*. (With half of it, as in the blog's theorem, it would be 1/2 sigma eps*.)"""
    data, x = points(seed), (2 * points(seed + 1)).requires_grad_()
    (gradient,) = torch.autograd.grad(smooth_squared_distance(x, data, sigma).sum(), x)
    t = float(EXPLODING.schedule.time(torch.tensor(-2 * math.log(sigma), dtype=torch.float64)))
    eps = to_eps(EXPLODING.schedule, x, Empirical(EXPLODING, data)(x, t), t)
    torch.testing.assert_close(0.5 * gradient, sigma * eps, rtol=1e-6, atol=1e-7)


@given(floats(1e-4, 3), st.integers(0, 1000))
def test_the_soft_minimum_lies_below_the_distance_by_at_most_the_entropy(sigma, seed):
    data, x = points(seed), 2 * points(seed + 1)
    _, distance = project(x, data)
    soft = smooth_squared_distance(x, data, sigma)
    assert (soft <= distance**2 + 1e-9).all()
    assert (soft >= distance**2 - 2 * sigma**2 * math.log(len(data)) - 1e-9).all()


def test_projection_is_the_nearest_point():
    data = points().view(6, 1, 2)
    nearest, distance = project(data + 1e-3, data)
    torch.testing.assert_close(nearest, data)
    torch.testing.assert_close(distance, torch.full((6,), 1e-3 * 2**0.5, dtype=torch.float64))


@pytest.mark.parametrize("schedule", [Cosine(), Flow(), EDM()])
def test_the_ideal_denoiser_projects_when_noise_is_small(schedule):
    process, data = Affine(schedule), points()
    ideal = Empirical(process, data)
    for log_snr, most in ((12.0, 1e-6), (0.0, 10.0)):
        t = float(schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
        alpha, sigma, _ = schedule.at(t)
        x_t = alpha * data + sigma * points(1)
        error = projection_error(process, ideal, x_t, t, data)
        assert (error < most).all() and (error >= 0).all()
        nearest, distance = project(x_t / alpha, data)
        twice = projection_error(process, lambda x, t, nearest=nearest: 3 * nearest, x_t, t, data)
        torch.testing.assert_close(twice, 2 * nearest.norm(dim=1) / distance)  # what is wrong is measured as such


@pytest.mark.parametrize("schedule", [Cosine(), Flow(), EDM()])
def test_the_map_that_memorises_ends_on_training_points(schedule):
    process, data = Affine(schedule), points()
    t = float(schedule.time(torch.tensor(-4.0, dtype=torch.float64)))
    alpha, sigma, _ = schedule.at(t)
    x_t = sigma * points(2, 50)
    pull = memorising_map(process, data, x_t, t)
    _, distance = project(pull.end, data)
    assert distance.max() < 1e-3
    assert len(project(pull.end, data)[0].unique(dim=0)) > 3  # and not on one of them
    felt = GaussianMixture.isotropic(process, data, 0.0)(x_t, t) - x_t / alpha
    torch.testing.assert_close(pull.field, felt, rtol=1e-6, atol=1e-6)


def test_between_two_masses_the_nearer_wins():
    data = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    process = Affine(EDM())
    x = torch.tensor([[-20.0], [-0.3], [0.001], [35.0]], dtype=torch.float64)
    assert memorising_map(process, data, x, 0.8).end.round().flatten().tolist() == [-1, -1, 1, 1]
