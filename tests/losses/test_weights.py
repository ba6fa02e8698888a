"""A weight means the same error for every prediction, and is finite wherever the prediction says anything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import PREDICTIONS, SCHEDULES, ZERO_TERMINAL, name, numbers

from undiffuse.core.errors import UserError
from undiffuse.core.linear import expand
from undiffuse.denoiser.prediction import X0, EDMPrediction, Eps, V, Velocity, target
from undiffuse.loss.integral import ELBO, FlowMatching, Integral, SigmoidWeight
from undiffuse.loss.time import Uniform
from undiffuse.loss.weight import EDMWeight, MinSNR, Plain, Simple
from undiffuse.process import EDM, VP, Cosine, Flow, ZeroTerminal

T = numbers(1e-4, 0.003, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)
# What the papers write: on the squared error of eps, and of x_0, as functions of SNR.
ON_EPS = [
    (Simple(), torch.ones_like),
    (Simple(X0()), lambda snr: 1 / snr),
    (MinSNR(5.0), lambda snr: snr.clamp(max=5) / snr),
    (MinSNR(0.7), lambda snr: snr.clamp(max=0.7) / snr),
    (EDMWeight(0.5), lambda snr: (snr + 4) / snr),
    (Integral(ELBO()), lambda snr: torch.full_like(snr, 0.5)),
    (Integral(SigmoidWeight(1.0)), lambda snr: 0.5 * (1 - snr.log()).sigmoid()),
    (Integral(FlowMatching()), lambda snr: 0.5 * snr**-0.5),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
@settings(max_examples=10)
@given(x=st.tuples(*[st.floats(-3, 3)] * 3))
def test_a_weight_is_of_the_same_error_for_every_prediction(schedule, prediction, x):
    x_0, z, x_0_hat = (torch.full_like(T, value) for value in x)
    alpha, sigma, log_snr = schedule.at(T)
    z_hat = z + alpha / sigma * (x_0 - x_0_hat)  # of the same x_t
    y = target(prediction, schedule, x_0, z, T) - target(prediction, schedule, x_0_hat, z_hat, T)
    inside = log_snr.abs() < 20
    for weight, on_eps in ON_EPS:
        loss = weight(prediction, schedule, T) * y**2
        wanted = on_eps(log_snr.exp()) * (alpha / sigma * (x_0 - x_0_hat)) ** 2
        torch.testing.assert_close(loss[inside], wanted[inside], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 5.0, 20.0])
def test_min_snr_in_each_predictions_own_terms(gamma):
    """min(SNR, gamma) over 1, SNR and SNR + 1 for x_0, eps and v: the third is where implementations go wrong."""
    snr = VP().log_snr(T).exp()
    least = snr.clamp(max=gamma)
    for prediction, terms in [(X0(), least), (Eps(), least / snr), (V(), least / (snr + 1))]:
        torch.testing.assert_close(MinSNR(gamma)(prediction, VP(), T), terms, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
def test_what_a_network_says_weighs_one_in_its_own_terms(schedule, prediction):
    one = torch.ones_like(T)
    torch.testing.assert_close(Simple(prediction)(prediction, schedule, T), one, rtol=1e-9, atol=0)
    assert Plain()(prediction, schedule, T).equal(one)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_edms_weight_is_one_on_edms_prediction(schedule, std):
    weight = EDMWeight(std)(EDMPrediction(std), schedule, T)
    torch.testing.assert_close(weight, torch.ones_like(T), rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES + ZERO_TERMINAL, ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
def test_weights_are_finite_at_every_time(schedule, prediction):
    """From hardly any noise to no data at all, where only the predictions of noise alone are blind."""
    t = torch.cat([torch.logspace(-6, 0, 100, dtype=torch.float64), 1 - torch.logspace(-12, -1, 50).double()])
    blind = isinstance(prediction, Eps) or name(prediction) == "Score"
    if schedule in ZERO_TERMINAL and blind:
        t = t[t < 1]
    counts = Integral().importance(Uniform(), schedule, t)
    assert (counts.isfinite() & (counts >= 0)).all()
    for weight in [weight for weight, _ in ON_EPS] + [Plain(), Simple(Velocity())]:
        factor = weight(prediction, schedule, t)
        assert (factor.isfinite() & (factor >= 0)).all(), weight


@pytest.mark.parametrize("weight", [Simple(), MinSNR(), EDMWeight()], ids=name)
@pytest.mark.parametrize("schedule", ZERO_TERMINAL, ids=name)
def test_eps_is_refused_where_nothing_is_left_of_the_data(weight, schedule):
    with pytest.raises(UserError, match="says nothing about x_0"):
        weight(Eps(), schedule, numbers(0.5, 1.0))


def test_known_limits_without_data():
    at_the_end = numbers(1.0)
    for schedule in [ZeroTerminal(Cosine()), Flow()]:
        assert MinSNR()(V(), schedule, at_the_end) == 0 == Simple()(V(), schedule, at_the_end)
        torch.testing.assert_close(EDMWeight()(V(), schedule, at_the_end), numbers(1.0))
        torch.testing.assert_close(Simple(Velocity())(X0(), schedule, at_the_end) > 0, torch.tensor([True]))


def test_weights_are_on_sigma_over_alpha_whatever_the_family():
    """The same log-SNR, the same weight on x_0: EDM's sigma is not a variance preserving sigma."""
    log_snr = numbers(-3, 0, 4)
    for weight in (MinSNR(), EDMWeight(0.5), Simple()):
        on_x0 = [weight(X0(), s, s.time(log_snr)) for s in (EDM(), Cosine(), Flow())]
        torch.testing.assert_close(on_x0[0], on_x0[1], rtol=1e-7, atol=0)
        torch.testing.assert_close(on_x0[0], on_x0[2], rtol=1e-7, atol=0)


def test_shapes_are_those_of_a_loss():
    error = torch.randn(len(T), 3, 4, dtype=torch.float64)
    assert expand(MinSNR()(V(), Cosine(), T), error).shape == (len(T), 1, 1)
