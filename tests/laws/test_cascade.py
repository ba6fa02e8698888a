"""A cascade of Gaussians, in closed form: how much of an error below reaches the top, as a function of the noise with
which the low-resolution picture is given.

Every stage is linear in the noises that it draws, so three rows, each with one noise of 1 and the others 0, give all
coefficients, and their products the covariance of what is drawn: no sampling error.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.low import check_level, given_with_noise, with_noise
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Labels
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian
from undiffuse.process import Affine, Cosine

V, C, W = 0.8, 0.6, 1.1  # the variance of a low pixel, its covariance with a high one, and the variance of that
OF = Picture((1, 1, 1), noise=1.0)
LEVELS = (0.0, 0.1, 0.5, 0.9, 1.0)
PROCESS = Affine(Cosine())


@dataclass
class Row:
    """Noise that is 1 in one row, and 0 in the others."""

    row: int

    def normal(self, like: Tensor) -> Tensor:
        one = torch.zeros_like(like)
        one[self.row] = 1
        return one

    def uniform(self, like: Tensor) -> Tensor:
        raise AssertionError("the level is chosen")


def drawn(variance: float, row: int) -> Tensor:
    """What an exact denoiser of N(0, variance) draws, (3, 1): its coefficients in the three noises."""
    exact = Gaussian(PROCESS, torch.zeros(1, dtype=torch.float64), torch.tensor([[variance]], dtype=torch.float64))
    alpha, sigma, _ = PROCESS.schedule.at(1.0)
    z = Row(row).normal(torch.zeros(3, 1, dtype=torch.float64))
    return exact.flow((alpha**2 * variance + sigma**2) ** 0.5 * z, 1.0)


def cascade(wrong: float, s: float) -> tuple[Tensor, Tensor]:
    """Low and high pixels, (3,) each, of a base that draws N(0, wrong) and an exact stage above it."""
    low = drawn(wrong, 0)
    y = with_noise(OF.entry(low.view(3, 1, 1, 1).float()), OF, Row(1), s).values[:, 0].double().view(3, 1)
    share = (1 - s**2) ** 0.5 * C / ((1 - s**2) * V + s**2)
    high = share * y + drawn(W - share**2 * ((1 - s**2) * V + s**2), 2)
    return low[:, 0], high[:, 0]


@pytest.mark.parametrize("s", LEVELS)
@pytest.mark.parametrize("wrong", [V, 0.7, 1.0])
def test_the_error_of_the_base_reaches_the_top_by_a_share_that_falls_with_noise(wrong, s):
    low, high = cascade(wrong, s)
    share = (1 - s**2) * C / ((1 - s**2) * V + s**2)
    assert float(low @ low) == pytest.approx(wrong)
    assert float(high @ high) == pytest.approx(W + share**2 * (wrong - V), rel=1e-5)
    assert float(low @ high) == pytest.approx(share * wrong, rel=1e-5, abs=1e-12)


def test_with_an_exact_base_the_picture_above_is_exact_at_any_level_and_belongs_to_the_lower_one_less_and_less():
    found = [cascade(V, s) for s in LEVELS]
    assert [float(high @ high) for _, high in found] == pytest.approx([W] * len(LEVELS), rel=1e-5)
    together = [float(low @ high) for low, high in found]
    assert together[0] == pytest.approx(C, rel=1e-5)
    assert together == sorted(together, reverse=True)
    assert together[-1] == 0


def test_what_is_told_is_the_level():
    entry = OF.entry(torch.zeros(4, 1, 1, 1))
    chosen = with_noise(entry, OF, SeededNoise(0), 0.6)
    assert chosen.values[:, 1].eq(0.6).all()
    assert entry.values[:, 1].eq(0).all()
    of, many = Picture((2, 3, 5), noise=0.5), torch.zeros(5000, 2, 3, 5)
    values = with_noise(of.entry(many), of, SeededNoise(1), None).values
    levels = values[:, 2, 0, 0]
    assert values[:, 2:].eq(levels.view(-1, 1, 1, 1)).all()
    assert float(levels.min()) >= 0 and float(levels.max()) <= 0.5
    assert float(levels.mean()) == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(values[:, :2].flatten(1).std(1).mean(), levels.mean(), atol=0.01, rtol=0)


def test_other_conditions_stay_and_what_is_enlarged_is_never_dropped():
    names = {"label": Labels(("a", "b")), "low": OF}
    here = torch.ones(64, dtype=torch.bool)
    asked = Conditions(
        {"label": Entry(torch.ones(64, dtype=torch.int64), here), "low": OF.entry(torch.zeros(64, 1, 1, 1))}
    )
    told = given_with_noise(names, asked, SeededNoise(0), 0.3)
    assert told.entries["label"] is asked.entries["label"]
    assert told.entries["low"].values[:, 1].eq(0.3).all()
    dropped = asked.drop(SeededNoise(0), 0.5, 0.5, kept=("low",))
    assert dropped.entries["low"].present.all()
    assert 5 < int(dropped.entries["label"].present.sum()) < 40


def test_a_level_that_was_not_trained_is_refused():
    check_level({"low": Picture((1, 2, 2), noise=0.4)}, 0.4)
    with pytest.raises(UserError, match=r"goes up to 0\.4"):
        check_level({"low": Picture((1, 2, 2), noise=0.4)}, 0.41)
    with pytest.raises(UserError, match="leave it out"):
        check_level({"low": Picture((1, 2, 2))}, 0.1)
