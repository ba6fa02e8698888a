"""Every prediction is every other: one x_0, whatever the network was asked for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import floats, inner_times, schedules

from undiffuse.core.errors import UserError
from undiffuse.denoiser import prediction as predict
from undiffuse.process import Affine, Cosine, Flow, Linear, ZeroTerminal

predictions = st.one_of(
    *map(st.builds, (predict.Eps, predict.X0, predict.V, predict.Score, predict.Velocity)),
    st.builds(predict.Mean, st.integers(10, 2000)),
    st.builds(predict.EDMPrediction, floats(0.2, 3)),
)


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(4, 2, 3, dtype=torch.float64, generator=generator) for _ in range(2))


@given(schedules, predictions, inner_times)
def test_x0_comes_back_at_a_number(schedule, prediction, t):
    x_0, z = pair()
    x_t, y = Affine(schedule).mix(x_0, z, t), predict.target(prediction, schedule, x_0, z, t)
    torch.testing.assert_close(predict.to_x0(prediction, schedule, x_t, y, t), x_0, rtol=1e-5, atol=1e-5)


@given(schedules, predictions, st.lists(inner_times, min_size=4, max_size=4))
def test_x0_comes_back_at_a_time_a_sample(schedule, prediction, times):
    x_0, z = pair()
    t = torch.tensor(times, dtype=torch.float64)
    x_t, y = Affine(schedule).mix(x_0, z, t), predict.target(prediction, schedule, x_0, z, t)
    back = predict.to_x0(prediction, schedule, x_t, y, t)
    torch.testing.assert_close(back, x_0, rtol=1e-5, atol=1e-5)
    for i, one in enumerate(times):
        alone = predict.to_x0(prediction, schedule, x_t[i : i + 1], y[i : i + 1], one)
        torch.testing.assert_close(alone, back[i : i + 1], rtol=1e-6, atol=1e-6)


@given(schedules, inner_times)
def test_targets_are_what_they_are_named(schedule, t):
    x_0, z = pair()
    (alpha, sigma, _), (d_alpha, d_sigma) = schedule.at(t), schedule.rate(t)
    for prediction, y in (
        (predict.Eps(), z),
        (predict.X0(), x_0),
        (predict.V(), alpha * z - sigma * x_0),
        (predict.Score(), -z / sigma),
        (predict.Velocity(), d_alpha * x_0 + d_sigma * z),
    ):
        torch.testing.assert_close(predict.target(prediction, schedule, x_0, z, t), y, rtol=1e-9, atol=1e-9)


@given(schedules, inner_times)
def test_eps_score_and_velocity_of_x0(schedule, t):
    x_0, z = pair()
    x_t = Affine(schedule).mix(x_0, z, t)
    sigma = schedule.at(t).sigma
    d_alpha, d_sigma = schedule.rate(t)
    scale = 1 + 1 / sigma + abs(d_alpha) + abs(d_sigma)
    for found, true in (
        (predict.to_eps(schedule, x_t, x_0, t), z),
        (predict.to_score(schedule, x_t, x_0, t), -z / sigma),
        (predict.to_velocity(schedule, x_t, x_0, t), d_alpha * x_0 + d_sigma * z),
    ):
        torch.testing.assert_close(found / scale, true / scale, rtol=1e-9, atol=1e-9)


@given(schedules, inner_times)
def test_the_mean_of_the_step_before_is_the_posteriors(schedule, t):
    x_0, z = pair()
    steps = 100
    s = max(t - 1 / steps, 0.0)
    process = Affine(schedule)
    x_t = process.mix(x_0, z, t)
    mean = predict.target(predict.Mean(steps), schedule, x_0, z, t)
    torch.testing.assert_close(mean, process.posterior(x_t, x_0, t, s).mean, rtol=1e-8, atol=1e-8)


@given(inner_times)
def test_edm_on_unit_data_is_minus_v(t):
    edm, v = predict.EDMPrediction()(Cosine(), t), predict.V()(Cosine(), t)
    assert edm == pytest.approx(tuple(-value for value in v))


@given(schedules, inner_times, floats(0.2, 3))
def test_edm_targets_have_unit_variance(schedule, t, sigma_data):
    a, b = predict.EDMPrediction(sigma_data)(schedule, t)
    assert a**2 * sigma_data**2 + b**2 == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Cosine()), ZeroTerminal(Linear())])
@pytest.mark.parametrize("prediction", [predict.Eps(), predict.Score()])
def test_noise_alone_says_nothing_of_the_data(schedule, prediction):
    x = torch.ones(2, 2, dtype=torch.float64)
    for t in (1.0, torch.tensor([0.5, 1.0], dtype=torch.float64)):
        with pytest.raises(UserError, match="says nothing about x_0"):
            predict.to_x0(prediction, schedule, x, x, t)


@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Cosine()), ZeroTerminal(Linear())])
@pytest.mark.parametrize("prediction", [predict.X0(), predict.V(), predict.EDMPrediction()])
def test_these_do_at_the_very_end(schedule, prediction):
    x_0, z = pair()
    y = predict.target(prediction, schedule, x_0, z, 1.0)
    torch.testing.assert_close(predict.to_x0(prediction, schedule, z, y, 1.0), x_0)
