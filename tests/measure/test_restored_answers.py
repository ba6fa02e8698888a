"""Answers of the exact posterior are calibrated; copies and doubled spreads are not."""

import math

import pytest
import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.data.task import Inpainting
from undiffuse.evaluate.answers import bicubic, mean_filled
from undiffuse.measure.answers import calibration, psnr, together
from undiffuse.measure.frechet import frechet_distance

RHO = 0.8
NOISE = SeededNoise(0)


def posed(count: int = 4_000):
    """x ~ N(0, 1) and y of correlation RHO."""
    x = NOISE.normal(torch.zeros(count, 2).double())
    return x, RHO * x + math.sqrt(1 - RHO**2) * NOISE.normal(x)


def answered(y, m: int, spread: float = 1.0):
    """Draws of N(RHO y, 1 - RHO^2), or wider ones."""
    z = NOISE.normal(y[:, None].expand(-1, m, -1).contiguous())
    return RHO * y[:, None] + spread * math.sqrt(1 - RHO**2) * z


@pytest.mark.parametrize("m", [2, 4, 9])
def test_draws_of_the_posterior_have_the_spread_that_their_error_calls_for(m):
    x, y = posed()
    assert calibration(answered(y, m), x) == pytest.approx(1, abs=0.03)
    assert calibration(answered(y, m, 0.5), x) < 0.7
    assert calibration(answered(y, 1).expand(-1, m, -1), x) == 0


def test_an_answer_to_another_question_is_far_though_it_is_as_good():
    x, y = posed()
    real, half = together(x, y), 2_000
    own, other = together(answered(y, 1)[:, 0], y), together(answered(y.flip(0), 1)[:, 0], y)
    floor, near, far = (frechet_distance(some[:half], real[half:]) for some in (real, own, other))
    assert near < 3 * floor < 0.2 * far
    assert frechet_distance(other[:half, :2], real[half:, :2]) < 0.2 * far  # alone, it is as good


def test_decibels():
    x = torch.zeros(3, 1, 4, 4)
    assert psnr(x, x + 0.2, 2.0) == pytest.approx(20)
    assert psnr(x, x, 2.0) == math.inf


def test_plain_fillings_are_exact_for_a_plain_picture():
    plain = torch.full((2, 3, 8, 8), 0.3)
    torch.testing.assert_close(bicubic(plain[..., ::4, ::4], plain), plain)
    torch.testing.assert_close(mean_filled(Inpainting().left(plain, NOISE), plain), plain)
