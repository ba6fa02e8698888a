"""Alpha, sigma, log-SNR, its inverse and the derivatives say the same thing, for every schedule."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import assume, given
from strategies import inner_times, plain, schedules, tables, variance_preserving

from undiffuse.process import (
    EDM,
    CosineTable,
    Flow,
    Linear,
    LogLinear,
    ScaledLinear,
    Shifted,
    SubVP,
    Table,
    ZeroTerminal,
    ZeroTerminalTable,
)
from undiffuse.process.schedule import Straight, SubVariancePreserving, VarianceExploding, VariancePreserving

T = torch.linspace(1e-3, 0.999, 400, dtype=torch.float64)


@given(schedules)
def test_log_snr_is_that_of_alpha_and_sigma(schedule):
    alpha, sigma, log_snr = schedule.at(T)
    torch.testing.assert_close(2 * (alpha.log() - sigma.log()), log_snr, rtol=1e-9, atol=1e-9)


@given(schedules)
def test_log_snr_strictly_falls(schedule):
    assert (schedule.log_snr(T).diff() < 0).all()


@given(schedules)
def test_time_is_the_inverse_of_log_snr(schedule):
    torch.testing.assert_close(schedule.time(schedule.log_snr(T)), T, rtol=1e-7, atol=1e-9)


@given(schedules)
def test_time_stays_in_its_range(schedule):
    times = schedule.time(torch.tensor([-200.0, -60.0, 60.0, 200.0], dtype=torch.float64))
    assert ((times >= 0) & (times <= 1)).all() and times[0] > 0.9 and times[-1] < 0.1


@given(schedules)
def test_it_begins_at_the_data(schedule):
    alpha, sigma, log_snr = schedule.at(0.0)
    assert (alpha, sigma, log_snr) == (1.0, 0.0, math.inf)


@given(schedules, inner_times)
def test_a_number_and_a_tensor_of_times_agree(schedule, t):
    for one, many in zip(schedule.at(t), schedule.at(torch.tensor([t, 0.5], dtype=torch.float64)), strict=True):
        assert isinstance(one, float) and one == pytest.approx(float(many[0]), rel=1e-12)
    for one, many in zip(schedule.rate(t), schedule.rate(torch.tensor([t, 0.5], dtype=torch.float64)), strict=True):
        assert isinstance(one, float) and one == pytest.approx(float(many[0]), rel=1e-12)


@given(schedules, inner_times)
def test_rate_is_the_derivative(schedule, t):
    if schedule.steps:  # between two entries of a table, where the derivative is defined
        t = (math.floor(t * schedule.steps) + 0.4) / schedule.steps
    step = min(1e-6, 1e-3 * t)
    kink = getattr(getattr(schedule, "base", schedule), "start", 0.0)
    assume(abs(t - kink) > 2 * step)
    (alpha_low, sigma_low, _), (alpha_high, sigma_high, _) = schedule.at(t - step), schedule.at(t + step)
    d_alpha, d_sigma = schedule.rate(t)
    assert d_alpha == pytest.approx((alpha_high - alpha_low) / (2 * step), rel=1e-4, abs=1e-5)
    assert d_sigma == pytest.approx((sigma_high - sigma_low) / (2 * step), rel=1e-4, abs=1e-5)


@given(schedules)
def test_rates_are_finite_inside(schedule):
    assert all(rate.isfinite().all() for rate in schedule.rate(T))


@given(plain)
def test_families(schedule):
    alpha, sigma, _ = schedule.at(torch.linspace(0, 1, 101, dtype=torch.float64))
    identity = {
        VariancePreserving: alpha**2 + sigma**2,
        VarianceExploding: alpha,
        Straight: alpha + sigma,
        SubVariancePreserving: alpha**2 + sigma,
    }
    (ones,) = (value for family, value in identity.items() if isinstance(schedule, family))
    torch.testing.assert_close(ones, torch.ones_like(ones), rtol=1e-10, atol=0)


@given(variance_preserving.map(ZeroTerminal))
def test_zero_terminal_ends_in_noise_alone(schedule):
    assert schedule.at(1.0).alpha == 0.0 and schedule.at(1.0).sigma == pytest.approx(1.0, rel=1e-15)


@given(tables.map(ZeroTerminalTable))
def test_zero_terminal_tables_end_in_noise_alone_and_keep_their_first_entry(schedule):
    assert schedule.at(1.0).alpha == 0.0
    assert schedule.alpha_bars()[0] == pytest.approx(float(schedule.base.alpha_bars()[0]), rel=1e-12)


def test_zero_terminal_refuses_what_it_cannot_rescale():
    with pytest.raises(ValueError, match="variance preserving"):
        ZeroTerminal(Flow())


@given(tables)
def test_tables_hold_their_entries_exactly(schedule):
    t = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    torch.testing.assert_close(schedule.at(t).alpha ** 2, schedule.alpha_bars(), rtol=1e-9, atol=1e-12)


@given(inner_times)
def test_shifting_a_flow_shifts_its_time(t):
    shift = 3.0
    moved, plain_ = Shifted(Flow(), shift), Flow()
    assert moved.at(t).alpha == pytest.approx(plain_.at(shift * t / (1 + (shift - 1) * t)).alpha, rel=1e-12)
    assert moved.at(t).log_snr == pytest.approx(plain_.at(t).log_snr - 2 * math.log(shift), rel=1e-12, abs=1e-12)


def test_ends_of_the_exploding_schedules():
    assert EDM().at(1.0).sigma == pytest.approx(80.0) and EDM().at(EDM().start).sigma == pytest.approx(0.002)
    assert LogLinear().at(1.0).sigma == pytest.approx(50.0)
    assert SubVP().at(1.0).sigma == pytest.approx(1 - math.exp(-10.05))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Linear(), {"beta_schedule": "linear"}),
        (ScaledLinear(), {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
        (CosineTable(), {"beta_schedule": "squaredcos_cap_v2"}),
        (ZeroTerminalTable(Linear()), {"beta_schedule": "linear", "rescale_betas_zero_snr": True}),
        (
            ZeroTerminalTable(ScaledLinear()),
            {
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "rescale_betas_zero_snr": True,
            },
        ),
    ],
    ids=["linear", "scaled linear", "cosine", "zero-terminal linear", "zero-terminal scaled linear"],
)
def test_tables_are_those_of_diffusers(ours: Table, theirs):
    alpha_bars = DDIMScheduler(**theirs).alphas_cumprod.double()
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(ours.at(t).alpha ** 2, alpha_bars, rtol=2e-4, atol=1e-7)
