"""A condition that diffuses with x, for x and y both N(0, 1) with covariance RHO, where all is known in closed form.

With u = alpha^2 and a = alpha_y^2 = u/(u + speed^2 (1 - u)) of y_t, the probability flow of p(x_t | y_t) is

    dx/du = 1/2 (rho sqrt(a/u) y_t - rho^2 a x)/(1 - rho^2 u a),    y_t = sqrt(a) y + sqrt(1 - a) z,

linear in the first noise, y and z: three rows, in each of which one of them is 1, give all coefficients. The same
integrals, by quadrature, are what must come out.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.diffused import at_level, with_own_noise
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.low import given_with_noise
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Labels, Vector
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.gaussian import noise_level
from undiffuse.process import Affine, Cosine
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.heun import Heun

RHO = 0.8
PROCESS = Affine(Cosine())
SPEEDS = (0.0, 0.1, 0.5, 1.0)  # CDE, CMDE twice, CDiffE


def share(u: float, speed: float) -> float:
    """alpha_y^2."""
    return u / (u + speed**2 * (1 - u))


def regression(u: float, speed: float) -> np.ndarray:
    """The coefficients of E[x_0 | x_t, y_t] = k (x_t, y_t)."""
    a = share(u, speed)
    c = RHO * math.sqrt(u * a)
    return np.linalg.solve([[1, c], [c, 1]], [math.sqrt(u), RHO * math.sqrt(a)])


@cache
def answered(speed: float) -> Tensor:
    """The coefficients of what is drawn in (y, z, the first noise), (3,)."""
    entry = Entry(torch.eye(3, dtype=torch.float64)[:, :2], torch.ones(3, dtype=torch.bool))

    def denoise(x_t: Tensor, t: float) -> Tensor:
        now = PROCESS.schedule.at(t)
        y_t = at_level(entry, speed, noise_level(now.log_snr, x_t.device, x_t.dtype)).values
        k = regression(now.alpha**2, speed)
        return k[0] * x_t + k[1] * y_t

    first = torch.eye(3, dtype=torch.float64)[:, 2:]
    times = [(1 + math.cos(math.pi * k / 600)) / 2 for k in range(601)]  # finer at both ends
    return last(trajectory(Heun(PROCESS), denoise, first, times, SeededNoise(0)))[:, 0]


def integrals(speed: float) -> list[float]:
    """The same, by quadrature along u from 0 to 1."""

    def kept(u: float) -> float:
        return math.exp(-0.5 * quad(lambda w: RHO**2 * share(w, speed) / (1 - RHO**2 * w * share(w, speed)), u, 1)[0])

    def pulled(of_y_t):
        def rate(root: float) -> float:  # in sqrt(u), where nothing is infinite
            u = root**2
            a = share(u, speed)
            return RHO * math.sqrt(a) * of_y_t(a) / (1 - RHO**2 * u * a) * kept(u)

        return quad(rate, 1e-9, 1)[0]

    return [pulled(math.sqrt), pulled(lambda a: math.sqrt(1 - a)), kept(0)]


@pytest.mark.parametrize("speed", SPEEDS)
def test_what_is_drawn_is_what_the_closed_form_says(speed):
    assert answered(speed).tolist() == pytest.approx(integrals(speed), abs=2e-4)


def test_a_clean_condition_gives_the_posterior_and_a_diffused_one_errs_the_more_the_faster_it_is():
    found = {speed: answered(speed).tolist() for speed in SPEEDS}
    mean, _, noise = found[0.0]
    assert mean == pytest.approx(RHO, abs=2e-4)
    assert noise**2 == pytest.approx(1 - RHO**2, abs=2e-4)
    assert found[1.0][2] ** 2 == pytest.approx(math.sqrt(1 - RHO**2), abs=2e-4)  # CDiffE: kept is (1 - rho^2)^(1/4)
    assert found[1.0][1] ** 2 + found[1.0][2] ** 2 == pytest.approx(0.672, abs=1e-3)  # as the page says
    means = [found[speed][0] for speed in SPEEDS]
    spreads = [found[speed][1] ** 2 + found[speed][2] ** 2 for speed in SPEEDS]
    assert means == sorted(means, reverse=True)
    assert spreads == sorted(spreads)


@pytest.mark.parametrize("speed", SPEEDS[1:])
@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_least_squares_on_what_a_network_sees_is_the_conditional_mean(speed, t):
    """What training minimises, of a linear network: consistent, whatever the speed."""
    noise, like = SeededNoise(0), torch.zeros(200_000, 1, dtype=torch.float64)
    x = noise.normal(like)
    y = RHO * x + math.sqrt(1 - RHO**2) * noise.normal(like)
    of = {"y": Vector(1, speed)}
    asked = Conditions({"y": of["y"].entry(y)})
    told = given_with_noise(of, asked, noise).entries["y"]
    now = PROCESS.schedule.at(t)
    x_t = now.alpha * x + now.sigma * noise.normal(like)
    seen = torch.cat([x_t, at_level(told, speed, torch.tensor(now.log_snr)).values.double()], 1)
    k = torch.linalg.lstsq(seen, x).solution[:, 0]
    assert k.tolist() == pytest.approx(regression(now.alpha**2, speed).tolist(), abs=0.01)


def test_a_network_sees_each_row_at_its_own_level_and_other_conditions_stay():
    of = {"label": Labels(("a", "b")), "low": Picture((2, 3, 5), speed=0.5), "like": Vector(3, speed=2.0)}
    ones = torch.ones(4, dtype=torch.bool)
    plain = Conditions(
        {
            "label": Entry(torch.zeros(4, dtype=torch.int64), ones),
            "low": of["low"].entry(torch.ones(4, 2, 3, 5)),
            "like": of["like"].entry(torch.ones(4, 3)),
        }
    )
    noisy = given_with_noise(of, plain, SeededNoise(0))
    assert noisy.entries["label"] is plain.entries["label"]
    assert noisy.entries["like"].values.shape == (4, 6)
    level = torch.tensor([8.0, 2.0, 0.0, -8.0])
    seen = Encoder(of, 16)(level, noisy).channels
    r = 0.5 * (-0.5 * level).exp().view(-1, 1, 1, 1)
    expected = (1 + r * noisy.entries["low"].values[:, 2:]) / (1 + r**2).sqrt()
    torch.testing.assert_close(seen[:, :2], expected)
    assert seen[:, 2].eq(1).all()  # there
    alone = Encoder(of, 16)(torch.tensor(2.0), noisy).channels
    torch.testing.assert_close(alone[1], seen[1])


def test_what_is_written_is_the_condition_without_its_noise():
    of, y = Picture((1, 2, 2), speed=1.0), torch.linspace(-1, 1, 4).view(1, 1, 2, 2)
    entry = with_own_noise(of.entry(y), SeededNoise(0))
    assert torch.from_numpy(of.written(entry)).equal(y)
    vector = Vector(2, speed=1.0)
    assert vector.written(with_own_noise(vector.entry(torch.tensor([[3.0, 4.0]])), SeededNoise(0))).tolist() == [[3, 4]]
    assert vector.read([3.0, 4.0], "like").tolist() == [3, 4, 0, 0]
    assert vector.say(vector.read([3.0, 4.0], "like")) == "3, 4"


def test_a_speed_that_cannot_be_and_two_ways_to_be_noisy_are_refused():
    with pytest.raises(UserError, match="at least 0, not -1"):
        Vector(2, speed=-1.0)
    with pytest.raises(UserError, match="leave noise or speed out"):
        Picture((1, 2, 2), noise=0.5, speed=0.5)
