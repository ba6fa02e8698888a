"""A learned schedule is a schedule: monotone, invertible, differentiable, and as its parameters are now."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import numbers

from undiffuse.core.configuration import from_values, to_values
from undiffuse.core.errors import UserError
from undiffuse.core.modules import built, modules
from undiffuse.process import Affine, Schedule, Shifted
from undiffuse.process.learned import Learned

T = torch.linspace(1e-4, 1, 300, dtype=torch.float64)


@st.composite
def learned(draw):
    """Any parameters at all."""
    schedule = Learned(draw(st.floats(1, 15)), draw(st.floats(-15, 0)), units=draw(st.integers(1, 9))).build()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    with torch.no_grad():
        for parameter in (schedule.log_slope, schedule.centre, schedule.log_sharpness, schedule.log_height):
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return schedule


@settings(max_examples=30, deadline=None)
@given(learned())
def test_it_is_a_schedule(schedule):
    alpha, sigma, log_snr = schedule.at(T)
    torch.testing.assert_close(2 * (alpha.log() - sigma.log()), log_snr, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(T))
    assert (log_snr.diff() < 0).all()
    torch.testing.assert_close(schedule.time(log_snr), T, rtol=1e-9, atol=1e-12)
    ends = schedule.log_snr(numbers(schedule.design.start, 1))
    torch.testing.assert_close(ends, numbers(schedule.design.log_snr_max, schedule.design.log_snr_min))


@settings(max_examples=10, deadline=None)
@given(learned(), st.floats(0.01, 0.99))
def test_numbers_and_tensors_agree_and_rates_are_slopes(schedule, t):
    point, rate = schedule.at(t), schedule.rate(t)
    assert point == pytest.approx([float(value.detach()[0]) for value in schedule.at(numbers(t))], rel=1e-12)
    up, down = schedule.at(t + 1e-6), schedule.at(t - 1e-6)
    assert rate == pytest.approx([(up[i] - down[i]) / 2e-6 for i in (0, 1)], rel=1e-5, abs=1e-7)


def test_time_ends_at_the_data():
    assert Learned().build().at(0.0)[:2] == (1.0, 0.0)


def test_it_starts_as_a_line():
    line = Learned(10.0, -6.0)
    expected = 10 - 16 * (T - line.start) / (1 - line.start)
    inside = line.start < T
    torch.testing.assert_close(line.log_snr(T)[inside], expected[inside], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(line.build().log_snr(T)[inside], expected[inside], rtol=0, atol=0.05)
    torch.testing.assert_close(line.time(line.log_snr(T)), T, rtol=1e-9, atol=1e-12)
    u = torch.linspace(0, 1, 33, dtype=torch.float64)
    progress = line.build().progress(line.start + (1 - line.start) * u)  # as much before the middle as after it
    torch.testing.assert_close(progress + progress.flip(0), torch.ones_like(u), rtol=0, atol=1e-12)


@pytest.mark.parametrize("learn_ends", [False, True])
def test_gradients_reach_every_parameter_that_learns(learn_ends):
    schedule = Learned(learn_ends=learn_ends, units=5).build()
    (schedule.at(T).log_snr * T).sum().backward()
    (schedule.rate(T)[0] * T.sin()).sum().backward()
    for name, parameter in schedule.named_parameters():
        moves = learn_ends or name not in ("high", "log_span")
        assert parameter.requires_grad == moves and (not moves or (parameter.grad != 0).all())


def test_nothing_is_remembered():
    schedule = Learned().build()
    before, rate = schedule.at(0.5), schedule.rate(0.5)
    with torch.no_grad():
        schedule.log_height[:20] += 3
    assert schedule.at(0.5) != before and schedule.rate(0.5) != rate


def test_it_stays_on_the_host_and_its_state_round_trips():
    schedule, other = Learned(12.0, -4.0).build(), Learned().build()
    with torch.no_grad():
        schedule.centre += 0.1
    other.load_state_dict(schedule.state_dict())
    assert torch.nn.ModuleList([other]).half().to("meta")[0].at(0.3) == schedule.at(0.3)
    assert copy.deepcopy(schedule).at(0.3) == schedule.at(0.3)


def test_a_process_lends_it_and_a_recipe_writes_it_down():
    plain = Learned(12.0, -4.0, units=7)
    schedule = plain.build()
    assert list(modules(Affine(schedule))) == [schedule] and list(modules(Affine(plain))) == []
    assert from_values(Schedule, to_values(plain)) == plain
    shifted = built(Shifted(plain, 2.0))
    assert list(modules(shifted)) == [shifted.base] != [built(Shifted(plain, 2.0)).base]


def test_impossible_ones_are_refused():
    for mistake in ({"log_snr_max": -6.0}, {"units": 0}, {"start": 0.0}):
        with pytest.raises(UserError):
            Learned(**mistake)
