"""Uniform noise is the largest of Gaussians, and the schedule of one follows from that of the other."""

import math

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.process import UNIFORM, Categorical, Cosine, Flow
from undiffuse.process.dual import Dual

TIMES = [0.02, 0.2, 0.5, 0.8, 0.98]


@pytest.mark.parametrize("gaussian", [Cosine(), Flow()])
@pytest.mark.parametrize("t", TIMES)
def test_of_two_classes_the_share_that_stays_is_an_error_function(gaussian, t):
    r = math.exp(gaussian.at(t).log_snr / 2)
    kept, lost = Categorical(Dual(2, gaussian), UNIFORM, 2, torch.float64).survival(t)
    assert kept == pytest.approx(math.erf(r / 2), rel=1e-9)
    assert lost == pytest.approx(math.erfc(r / 2), rel=1e-9, abs=1e-30)


@pytest.mark.parametrize("classes", [2, 5, 60])
@pytest.mark.parametrize("t", [0.3, 0.5, 0.7])
def test_the_largest_entry_has_the_marginals_of_uniform_noise(classes, t):
    process = Categorical(Dual(classes, Flow()), UNIFORM, classes, torch.float64)
    alpha, sigma, _ = Flow().at(t)
    w = sigma * torch.randn(20_000, classes)
    w[:, 1] += alpha
    shares = w.argmax(1).bincount(minlength=classes) / 20_000
    truth = process.marginal(torch.tensor([[1]]), t).log_probs.exp()[0, 0]
    torch.testing.assert_close(shares.double(), truth, rtol=0, atol=0.015)


def test_the_schedule_falls_from_data_to_noise_and_has_its_inverse():
    schedule, t = Dual(27), torch.linspace(0.0, 1.0, 41, dtype=torch.float64)
    curve = schedule.log_snr(t)
    assert curve[0] == torch.inf and (curve[1:].diff() < 0).all()
    inner = curve[2:-2]
    torch.testing.assert_close(schedule.time(inner), t[2:-2], rtol=0, atol=1e-9)


def test_one_class_has_no_largest():
    with pytest.raises(UserError, match="at least 2 classes, not 1"):
        Dual(1)
