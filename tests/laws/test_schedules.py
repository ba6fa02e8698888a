"""Alpha, sigma, log-SNR, its inverse and the derivatives say the same thing, for every schedule."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import floats, inner_times, plain, schedules, tables, variance_preserving

from undiffuse.process import (
    EDM,
    VP,
    Cosine,
    CosineTable,
    DiscreteSchedule,
    Fading,
    Flow,
    Linear,
    LogLinear,
    ScaledLinear,
    Shifted,
    Sigmoid,
    SubVP,
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


def squares(schedule, t):
    """(alpha^2, sigma^2), by the papers' formulas as they stand: right where nothing cancels."""
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    match schedule:
        case VP(low, high) | SubVP(low, high):
            left = math.exp(-(low * t + t**2 * (high - low) / 2))
            return left, 1 - left if isinstance(schedule, VP) else (1 - left) ** 2
        case Cosine(s, end):
            first = math.pi / 2 * s / (1 + s)
            last = math.acos(math.cos(first) * sigmoid(end) ** 0.5)
            left = (math.cos(first + t * (last - first)) / math.cos(first)) ** 2
        case Sigmoid(start, end, tau, log_snr_end):
            low, high = sigmoid(start / tau), sigmoid(end / tau)
            level = high - sigmoid(log_snr_end) * (high - low)
            last = tau * math.log(level / (1 - level))
            left = (high - sigmoid((start + t * (last - start)) / tau)) / (high - low)
        case LogLinear(low, high, start):
            rise = (t - start) / (1 - start)
            return 1.0, (low * t / start if t < start else low ** (1 - rise) * high**rise) ** 2
        case EDM(low, high, rho, start):
            root = low ** (1 / rho) + (t - start) / (1 - start) * (high ** (1 / rho) - low ** (1 / rho))
            return 1.0, (low * t / start if t < start else root**rho) ** 2
        case Fading():
            left = 1 - t
        case Flow():
            return (1 - t) ** 2, t**2
        case ZeroTerminal(base):
            last = base.at(1.0).alpha
            left = ((base.at(t).alpha - last) / (1 - last)) ** 2
        case Shifted(base, shift):
            left, lost = squares(base, t)
            alpha, sigma = base.scale(torch.tensor(math.log(left / lost / shift**2), dtype=torch.float64))
            return float(alpha**2), float(sigma**2)
        case _:
            raise AssertionError(schedule)
    return left, 1 - left


@given(schedules, st.one_of(inner_times, floats(1e-4, 2e-3)))
def test_the_curves_are_those_of_the_papers(schedule, t):
    assume(not schedule.steps)  # a table's law is its entries, below
    alpha, sigma, _ = schedule.at(t)
    assert (alpha**2, sigma**2) == pytest.approx(squares(schedule, t), rel=1e-8, abs=1e-10)


@given(schedules)
def test_before_the_data_and_beyond_the_noise_there_is_no_time(schedule):
    last = schedule.at(1.0).log_snr
    beyond = torch.tensor([max(last, -700.0) - 1, max(last, -700.0) - 50, 1e4], dtype=torch.float64)
    times = schedule.time(beyond)
    assert times[0] == pytest.approx(1.0, abs=1e-9) and times[1] == pytest.approx(1.0, abs=1e-9)
    assert times[2] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("end", [-20.0, -9.0])
def test_the_curves_that_would_never_end_are_ended(end):
    for schedule in (Cosine(log_snr_end=end), Sigmoid(log_snr_end=end)):
        assert schedule.at(1.0).log_snr == pytest.approx(end, abs=1e-5)


def test_published_numbers():
    """The defaults are the papers': DDPM's betas in both forms, s of the cosine, EDM's and NCSN's levels."""
    assert (VP(), Linear()) == (VP(0.1, 20.0), Linear(1e-4, 0.02, 1000))
    assert ScaledLinear() == ScaledLinear(0.00085, 0.012, 1000)
    assert (SubVP(), Cosine(), CosineTable()) == (SubVP(0.1, 20.0), Cosine(0.008, -20.0), CosineTable(0.008, 1000))
    assert (EDM(), LogLinear()) == (EDM(0.002, 80.0, 7.0, 1e-3), LogLinear(0.01, 50.0, 1e-3))
    assert (Sigmoid(), Shifted(Flow())) == (Sigmoid(-3.0, 3.0, 1.0, -20.0), Shifted(Flow(), 3.0))


def test_what_was_looked_up_is_remembered_and_then_forgotten():
    schedule = VP()
    for i in range(5000):
        schedule.at(i / 5000)
        assert len(schedule._points) <= 4096
    point, rate = schedule.at(0.5), schedule.rate(0.5)
    schedule.at(0.3), schedule.rate(0.3)  # beside what was known, not in its place
    assert schedule.at(0.5) is point and schedule.rate(0.5) is rate


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
def test_tables_are_those_of_diffusers(ours: DiscreteSchedule, theirs):
    alpha_bars = DDIMScheduler(**theirs).alphas_cumprod.double()
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(ours.at(t).alpha ** 2, alpha_bars, rtol=2e-4, atol=1e-7)


def test_a_flows_family_is_a_straight_line():
    """On the ray of its log-SNR, as well as at its time."""
    t = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    alpha, sigma = Flow().scale(Flow().log_snr(t))
    torch.testing.assert_close(alpha, 1 - t)
    torch.testing.assert_close(sigma, t)
