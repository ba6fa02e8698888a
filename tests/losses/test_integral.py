"""Kingma and Gao's loss is one integral over log-SNR: no schedule and no law of t changes it."""

import pytest
import torch
from stand_ins import PREDICTIONS, SCHEDULES, Says, name, posterior_mean, seeded

from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import X0, Eps, V, Velocity
from undiffuse.loss.adaptive import Adaptive, Importance
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.draws import Stratified
from undiffuse.loss.integral import (
    ELBO,
    CosineEps,
    CosineMinSNR,
    EDMCurve,
    FlowMatching,
    Integral,
    Monotone,
    SigmoidWeight,
)
from undiffuse.loss.time import LogitNormal, LogNormal, Uniform, log_snr_decay
from undiffuse.loss.weight import EDMWeight, MinSNR, Simple
from undiffuse.process import VP, Affine, Cosine, Flow

RANGE = (-7.0, 10.0)
STD = 0.6
CURVES = [ELBO(), SigmoidWeight(1.0), FlowMatching(), CosineEps(), CosineMinSNR(), EDMCurve(), Monotone()]
ADAPTED = Adaptive(bins=20, log_snr_range=RANGE).build()
ADAPTED.total += 1 + torch.arange(20)
ADAPTED.mass += 1
LAWS = [
    Uniform(),
    LogNormal(-1.0, 2.5),
    LogitNormal(0.0, 2.5),
    ADAPTED,
    Importance(bins=10),
    Importance(bins=10).build(),
    Uniform(steps=100_000),
]


def eps_error(log_snr):
    """E|z - E[z | x_t]|^2 for x_0 ~ N(0, STD^2), in closed form."""
    return log_snr.exp() * x0_error(log_snr)


def x0_error(log_snr):
    return 1 / (log_snr.exp() + 1 / STD**2)


def closed_form(w):
    log_snr = torch.linspace(*RANGE, 100_001, dtype=torch.float64)
    return float(0.5 * torch.trapezoid(w(log_snr) * eps_error(log_snr), log_snr))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("law", LAWS, ids=name)
def test_the_integral_is_the_same_for_every_schedule_and_law(schedule, law):
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    t = law.quantile(u, schedule)
    counts = Integral(log_snr_range=RANGE).importance(law, schedule, t)
    error = x0_error(schedule.log_snr(t)) * counts
    for w in CURVES:
        mean = (Integral(w, RANGE)(X0(), schedule, t) * error).mean()
        assert mean == pytest.approx(closed_form(w), rel=5e-3), w


@pytest.mark.parametrize("prediction", PREDICTIONS[:3], ids=name)
@pytest.mark.parametrize("law", [Uniform(start=1e-3, draws=Stratified()), ADAPTED], ids=name)
def test_the_loss_of_the_exact_denoiser_is_the_closed_form(prediction, law):
    process = Affine(VP())
    denoiser = Denoiser(Says(posterior_mean(STD), process, prediction), process, prediction).eval()
    x_0 = STD * torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = Denoising(law, Integral(SigmoidWeight(1.0), RANGE))(denoiser, x_0, seeded())
    error = float(losses.std() / len(losses) ** 0.5)
    assert losses.mean() == pytest.approx(closed_form(SigmoidWeight(1.0)), abs=4 * error)


def test_curves_are_the_weights_they_are_named_after():
    """Up to a constant: the weight on eps at uniform t is w, divided by the rate at which its schedule falls."""
    t = torch.linspace(0.02, 0.98, 50, dtype=torch.float64)
    cosine = Cosine(s=0.0, log_snr_end=-60.0)
    for schedule, weight, w in [
        (Flow(), Simple(Velocity()), FlowMatching()),
        (cosine, Simple(V()), FlowMatching()),
        (cosine, Simple(), CosineEps()),
        (cosine, MinSNR(5.0), CosineMinSNR(5.0)),
    ]:
        ratio = weight(Eps(), schedule, t) / (w(schedule.log_snr(t)) * log_snr_decay(schedule, t))
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-6, atol=0)


def test_edms_curve_is_its_weight_and_its_law():
    schedule, law = Flow(), LogNormal()
    t = schedule.time(torch.linspace(-6, 8, 50, dtype=torch.float64))
    per_log_snr = EDMWeight(0.5)(Eps(), schedule, t) * law.density(t, schedule) / log_snr_decay(schedule, t)
    ratio = per_log_snr / EDMCurve(0.5)(schedule.log_snr(t))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0), rtol=1e-6, atol=0)  # 1/sigma_data^2


@pytest.mark.parametrize("w", [ELBO(), SigmoidWeight(), FlowMatching(), *map(Monotone, (EDMCurve(), CosineEps()))])
def test_monotone_weights_never_rise(w):
    grid = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    assert (w(grid).diff() <= 1e-12).all()


def test_a_filled_up_curve_keeps_its_fall():
    grid = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    w, filled = EDMCurve()(grid), Monotone()(grid)
    assert (w.diff() > 0).any() and torch.allclose(filled[:100], w.max().expand(100), rtol=1e-5)
    assert filled[grid > 8].equal(w[grid > 8])
