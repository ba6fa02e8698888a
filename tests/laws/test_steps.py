"""One step is its formula, written a second time in other variables.

The denoisers here are any functions, not of any data: a step is a formula in what they say. Multistep methods are met
with denoisers that are polynomials in time alone, over which their steps are exact.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from undiffuse.process import (
    EDM,
    VP,
    Affine,
    Cosine,
    Fading,
    Flow,
    ZeroTerminal,
)
from undiffuse.process.schedule import Schedule
from undiffuse.step.adams_bashforth import AdamsBashforth, in_log_rho, in_rho, in_time
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.annealed_langevin import AnnealedLangevin
from undiffuse.step.ddim import DDIM
from undiffuse.step.deis import DEIS
from undiffuse.step.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from undiffuse.step.euler import Euler
from undiffuse.step.euler_maruyama import EulerMaruyama
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun
from undiffuse.step.interpolate import GAIN, LONG, Node, mean_of_x0, steady
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.step.unipc import UniPC

X = torch.tensor([[-1.2, 0.3, 2.0]], dtype=torch.float64)
W = torch.tensor([[0.4, -1.1, 0.7]], dtype=torch.float64)  # the fresh noise
SCHEDULES = {"VP": VP(), "Cosine": Cosine(), "Flow": Flow(), "EDM": EDM()}
P = Affine(VP())

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
every_pair = pytest.mark.parametrize(("t", "s"), [(0.7, 0.5), (0.3, 0.28), (0.7, 0.0)])


class Given:
    """The fresh noise W, each time."""

    def normal(self, like: Tensor) -> Tensor:
        return W.clone()


def says(x_t: Tensor, t: float) -> Tensor:
    """Some x_0."""
    return (1.3 * x_t + t).tanh() + 0.2 * t


def z_of(schedule: Schedule, x_t: Tensor, t: float) -> Tensor:
    alpha, sigma, _ = schedule.at(t)
    return (x_t - alpha * says(x_t, t)) / sigma


def rho_of(schedule: Schedule, t: float) -> float:
    return schedule.at(t).sigma / schedule.at(t).alpha


def one(step, t: float, s: float, memory=None) -> Tensor:
    before = X.clone()
    x_s, _ = step(says, X, t, s, memory, Given())
    assert torch.equal(X, before)
    return x_s


def moved(schedule: Schedule, x_t: Tensor, x_0: Tensor, t: float, s: float, eta: float = 0.0) -> Tensor:
    """DDIM's step toward x_0, whatever is said."""
    x_s, _ = DDIM(Affine(schedule), eta)(lambda x, t: x_0, x_t, t, s, None, Given())
    return x_s


def near(x: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(x, truth, rtol=1e-9, atol=1e-9)


def share_lost(schedule: Schedule, t: float, s: float) -> float:
    """1 - SNR_t/SNR_s."""
    return 1 - (rho_of(schedule, s) / rho_of(schedule, t)) ** 2


# ---------------------------------------------------------------------------------------------------- one step


@every_schedule
@every_pair
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(schedule, t, s, eta):
    """Equation 12, x_s = alpha_s x_0 + sqrt(sigma_s^2 - n^2) z + n w; with eta = 1 it is the posterior's draw."""
    then, n = schedule.at(s), eta * schedule.at(s).sigma * math.sqrt(share_lost(schedule, t, s))
    truth = then.alpha * says(X, t) + math.sqrt(then.sigma**2 - n**2) * z_of(schedule, X, t) + n * W
    near(one(DDIM(Affine(schedule), eta), t, s), truth)
    if eta == 1:
        near(one(Ancestral(Affine(schedule)), t, s), truth)


@every_schedule
@every_pair
def test_euler(schedule, t, s):
    """Along the tangent, as far as the chord; to the data DDIM's step."""
    process, now, then = Affine(schedule), schedule.at(t), schedule.at(s)
    slope = schedule.rate(t)
    chord, speed = math.dist(now[:2], then[:2]), math.hypot(*slope)
    truth = X - chord / speed * (slope[0] * says(X, t) + slope[1] * z_of(schedule, X, t))
    near(one(Euler(process), t, s), truth if s else one(DDIM(process), t, s))


def test_the_tangent_counts_wherever_there_is_one():
    """However slowly the curve is run through."""
    assert math.hypot(*VP().rate(0.9)) < 1
    assert not torch.allclose(one(Euler(P), 0.9, 0.5), one(DDIM(P), 0.9, 0.5))
    assert math.isinf(math.hypot(*Fading().rate(1.0)))
    near(one(Euler(Affine(Fading())), 1.0, 0.6), one(DDIM(Affine(Fading())), 1.0, 0.6))


@every_schedule
@pytest.mark.parametrize("share", [0.5, 0.99, 1.01, 1.9])
def test_euler_maruyama(schedule, share):
    """x - h (f x - g^2 score) + g sqrt(h) w while h k < 1, then DDPM's step."""
    t, process = 0.6, Affine(schedule)
    (alpha, sigma, _), (d_alpha, d_sigma) = schedule.at(t), schedule.rate(t)
    f = d_alpha / alpha
    k = 2 * (d_sigma / sigma - f)  # -d log_snr/dt
    h = share / k
    if h >= t:
        return
    g, score = math.sqrt(k) * sigma, -z_of(schedule, X, t) / sigma
    truth = X - h * (f * X - g**2 * score) + g * math.sqrt(h) * W
    near(one(EulerMaruyama(process), t, t - h), truth if share < 1 else one(DDIM(process, 1.0), t, t - h))
    near(one(EulerMaruyama(process), t, 0.0), says(X, t))
    near(one(EulerMaruyama(Affine(EDM())), 0.0012, 0.0), says(X, 0.0012))  # where h k < 1, too


@every_schedule
@every_pair
def test_heun(schedule, t, s):
    """The trapezoid rule in y = x/alpha over rho = sigma/alpha; to the data Euler's."""
    step = rho_of(schedule, s) - rho_of(schedule, t)
    y, alpha_s, z = X / schedule.at(t).alpha, schedule.at(s).alpha, z_of(schedule, X, t)
    landed = alpha_s * (y + step * z)
    truth = alpha_s * (y + step / 2 * (z + z_of(schedule, landed, s))) if s else landed
    near(one(Heun(Affine(schedule)), t, s), truth)


@every_schedule
def test_churn(schedule):
    """Up to (1 + churn) rho with fresh noise, where rho lies within the bounds, and from there as without churn."""
    t, s, process = 0.5, 0.4, Affine(schedule)
    rho, now = rho_of(schedule, t), schedule.at(t)
    raised = float(schedule.time(torch.tensor(-2 * math.log(1.2 * rho), dtype=torch.float64)))
    y = X / now.alpha + 0.9 * rho * math.sqrt(1.2**2 - 1) * W
    truth, _ = Heun(process)(says, y * schedule.at(raised).alpha, raised, s, None, Given())
    for low, high, churns in (
        (0.0, math.inf, True),
        (rho, rho, True),
        (rho * 1.01, 9e9, False),
        (0, rho * 0.99, False),
    ):
        near(one(Heun(process, 0.2, low, high, 0.9), t, s), truth if churns else one(Heun(process), t, s))
    fast, _ = Heun(process, 1.0)(says, X, 0.999, 0.4, None, Given())
    assert fast.isfinite().all()  # no further than the schedule's end


@every_schedule
@every_pair
def test_two_s(schedule, t, s):
    """Toward the x_0 that is seen half way in log-SNR, where DDIM leads."""
    process = Affine(schedule)
    truth = one(DDIM(process), t, s)
    if s > 0:
        half = torch.tensor((schedule.at(t).log_snr + schedule.at(s).log_snr) / 2, dtype=torch.float64)
        middle = float(schedule.time(half))
        x_0 = says(one(DDIM(process), t, middle), middle)
        truth = moved(schedule, X, x_0, t, s)
    near(one(DPMSolverSinglestep(process), t, s), truth)


@every_schedule
@every_pair
@pytest.mark.parametrize("gamma", [1.0, 1.6])
@pytest.mark.parametrize("mu", [0.0, 0.5, 0.3])
def test_gradient_estimation(schedule, t, s, gamma, mu):
    """Algorithm 2: y_s = y_t - (rho_t - rho') z-bar + sqrt(rho_s^2 - rho'^2) w."""
    rho, rho_s, z, before = rho_of(schedule, t), rho_of(schedule, s), z_of(schedule, X, t), W.flip(1)
    reached = (rho_s / rho**mu) ** (1 / (1 - mu))
    for memory in (None, before):
        z_bar = z if memory is None else gamma * z + (1 - gamma) * memory
        y = X / schedule.at(t).alpha - (rho - reached) * z_bar + math.sqrt(rho_s**2 - reached**2) * W
        near(one(GradientEstimation(Affine(schedule), gamma, mu), t, s, memory), schedule.at(s).alpha * y)
    _, kept = GradientEstimation(Affine(schedule), gamma, mu)(says, X, t, s, None, Given())
    near(kept, z)


@every_schedule
@pytest.mark.parametrize("repeats", [1, 3])
def test_annealed_langevin(schedule, repeats):
    """Steps x + a score + sqrt(2a) w with a = size sigma^2, then the same x in units of its spread."""
    t, s, process, size = 0.6, 0.4, Affine(schedule, sigma_data=0.5), 0.2
    (alpha, sigma, _), x = schedule.at(t), X
    for _ in range(repeats):
        score = (alpha * says(x, t) - x) / sigma**2
        x = x + size * sigma**2 * score + math.sqrt(2 * size) * sigma * W
    spread, spread_s = (math.hypot(0.5 * schedule.at(u).alpha, schedule.at(u).sigma) for u in (t, s))
    near(one(AnnealedLangevin(process, repeats, size), t, s), x * spread_s / spread)
    near(one(AnnealedLangevin(process, repeats, size), t, 0.0), says(x, t))


@every_schedule
def test_the_corrector(schedule):
    """x + a score + sqrt(2a) w with a = 2 snr^2 sigma^2, as often as asked, after the predictor and not at the data."""
    t, s, snr, process = 0.6, 0.4, 0.3, Affine(schedule)
    (alpha, sigma, _), x = schedule.at(s), one(DDIM(process), t, s)
    for corrections in (0, 1, 2):
        near(one(PredictorCorrector(process, DDIM(process), snr, corrections), t, s), x)
        x = x + 2 * snr**2 * (alpha * says(x, s) - x) + 2 * snr * sigma * W
    near(one(PredictorCorrector(process, DDIM(process), snr, 2), t, 0.0), says(X, t))


FROM_NOISE = {
    "ddim": (DDIM, 0.0),
    "heun": (Heun, 0.0),
    "heun, churned": (lambda p: Heun(p, 0.1), 0.0),
    "2S": (DPMSolverSinglestep, 0.0),
    "2M": (DPMSolverMultistep, 0.0),
    "3M": (lambda p: DPMSolverMultistep(p, 3), 0.0),
    "unipc": (UniPC, 0.0),
    "deis": (DEIS, 0.0),
    "gradient estimation": (GradientEstimation, 0.0),
    "gradient estimation, half": (lambda p: GradientEstimation(p, 1.6, 0.5), 1.0),
    "ddpm": (Ancestral, 1.0),
    "2M with noise": (lambda p: DPMSolverMultistep(p, 2, 1.0), 1.0),
    "euler-maruyama": (EulerMaruyama, 1.0),
}


@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(VP())], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("make", "eta"), FROM_NOISE.values(), ids=FROM_NOISE)
def test_from_noise_alone_all_steps_are_ddims_or_ddpms(schedule, make, eta):
    """Where alpha = 0 slopes are infinite; what was said there is no node for the next."""
    step = make(Affine(schedule))
    x, memory = step(says, X, 1.0, 0.6, None, Given())
    near(x, moved(schedule, X, says(X, 1.0), 1.0, 0.6, eta))
    if not isinstance(step, GradientEstimation):
        near(step(says, x, 0.6, 0.5, memory, Given())[0], step(says, x, 0.6, 0.5, None, Given())[0])


# --------------------------------------------------------------------------------------------------- multistep


def places(schedule: Schedule, count: int = 6, first: float = 0.0, by: float = 0.4) -> list[float]:
    """Times whose lambda rises unevenly, by about ``by``."""
    rising = first + by * (torch.arange(count, dtype=torch.float64) + 0.1 * torch.arange(count) ** 1.5)
    return schedule.time(2 * rising).tolist()


def polynomial(degree: int, u: float) -> Tensor:
    return sum(c * u**k for k, c in enumerate([W, X, W.flip(1), X.flip(1)][: degree + 1]))


def integral(f: Callable[[float], Tensor], a: float, b: float) -> Tensor:
    parts = [quad(lambda u, i=i: float(f(u)[0, i]), a, b, epsrel=1e-11)[0] for i in range(3)]
    return torch.tensor([parts], dtype=torch.float64)


@every_schedule
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("variable", [in_rho, in_log_rho, in_time])
def test_adams_bashforth_is_exact_for_polynomials(schedule, order, variable):
    """y_s = y_t + integral of z d rho: for z of degree order - 1 where all is known, one less from a cold start."""

    def at(rho: float) -> float:
        return float(variable(schedule, torch.tensor(-2 * math.log(rho), dtype=torch.float64)))

    def z(degree: int, t: float) -> Tensor:
        return polynomial(degree, at(rho_of(schedule, t)))

    def flown(degree: int, x: Tensor, t: float, s: float) -> Tensor:
        along = integral(lambda rho: polynomial(degree, at(rho)), rho_of(schedule, t), rho_of(schedule, s))
        return schedule.at(s).alpha * (x / schedule.at(t).alpha + along)

    times, step = places(schedule), AdamsBashforth(Affine(schedule), order, variable)
    for degree in {order - 1, max(order - 2, 0)}:
        x, memory = X, None
        for i, (t, s) in enumerate(pairwise(times)):
            before, (alpha, sigma, _) = x, schedule.at(t)
            said = lambda x, t, a=alpha, b=sigma, d=degree: (x - b * z(d, t)) / a  # noqa: E731
            x, memory = step(said, x, t, s, memory, Given())
            if i >= order - 1:
                torch.testing.assert_close(x, flown(degree, before, t, s), rtol=1e-6, atol=1e-6)
            if i >= degree and degree < order - 1:
                torch.testing.assert_close(x, flown(degree, X, times[0], s), rtol=1e-6, atol=1e-6)


def lambda_of(schedule: Schedule, t: float) -> float:
    return -math.log(rho_of(schedule, t))


def toward_mean(schedule: Schedule, x: Tensor, t: float, s: float, x_0: Callable[[float], Tensor]) -> Tensor:
    """The flow where x_0 is a function of lambda: sigma_s/sigma_t x_t + sigma_s integral of e^lambda x_0."""
    a, b, sigma, sigma_s = lambda_of(schedule, t), lambda_of(schedule, s), schedule.at(t).sigma, schedule.at(s).sigma
    return sigma_s / sigma * x + sigma_s * integral(lambda u: math.exp(u) * x_0(u), a, b)


@every_schedule
@pytest.mark.parametrize("degree", [1, 2])
def test_three_m_is_exact_for_parabolas(schedule, degree):
    """Where all is known; for lines from a cold start (but for their mean place, which is the papers')."""
    times, step = places(schedule), DPMSolverMultistep(Affine(schedule), 3)
    x, memory = X, None
    for i, (t, s) in enumerate(pairwise(times)):
        before = x
        x, memory = step(lambda x, t: polynomial(degree, lambda_of(schedule, t)), x, t, s, memory, Given())
        if i == 1 and degree == 1:
            middle = polynomial(1, (lambda_of(schedule, times[0]) + lambda_of(schedule, s)) / 2)
            near(x, moved(schedule, X, middle, times[0], s))
        if i >= 2:
            near(x, toward_mean(schedule, before, t, s, lambda u: polynomial(degree, u)))


@every_schedule
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("order", [2, 3])
def test_multistep_with_noise(schedule, eta, order):
    """DDIM's step toward a mean of x_0: on a line that at mid-step; of a parabola under the density e^(1 + eta^2)."""
    times, process = places(schedule, order + 1), Affine(schedule)
    step, x, memory = DPMSolverMultistep(process, order, eta), X, None
    for t, s in pairwise(times):
        before = x
        x, memory = step(lambda x, t: polynomial(order - 1, lambda_of(schedule, t)), x, t, s, memory, Given())
    a, b = lambda_of(schedule, t), lambda_of(schedule, s)
    rate = 1 + eta**2
    mass = (math.exp(rate * b) - math.exp(rate * a)) / rate
    mean = integral(lambda u: math.exp(rate * u) / mass * polynomial(2, u), a, b) if order == 3 else None
    mean = polynomial(1, (a + b) / 2) if mean is None else mean
    if eta:
        near(x, moved(schedule, before, mean, t, s, eta))
    else:  # the path so far is made again, through all that is known
        near(memory.past[0].value, polynomial(order - 1, a))


@every_schedule
@pytest.mark.parametrize("b", [1, 2])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_corrects_to_one_order_more(schedule, order, b):
    """x_0 of degree order: the point left is exact after the corrector, which the paper's B reaches on a line alone."""

    def denoise(x: Tensor, t: float) -> Tensor:
        return polynomial(order, lambda_of(schedule, t))

    times = places(schedule)
    x, memory, corrected = X, None, []
    for t, s in pairwise(times):
        x, memory = UniPC(Affine(schedule), order, b)(denoise, x, t, s, memory, Given())
        corrected.append(memory.x)
    for i in range(max(order, 2), len(corrected)):  # the step that led there, from where it began
        t, s = times[i - 1], times[i]
        if order > 1:
            truth = toward_mean(schedule, corrected[i - 1], t, s, lambda u: polynomial(order, u))
        else:
            h = lambda_of(schedule, s) - lambda_of(schedule, t)
            mean = polynomial(1, lambda_of(schedule, t) + h * (0.5 if b == 2 else 0.5 * h / (1 - math.exp(-h))))
            truth = moved(schedule, corrected[i - 1], mean, t, s)
        near(corrected[i], truth)


@every_schedule
@pytest.mark.parametrize("b", [1, 2])
def test_unipc_predicts_on_a_line(schedule, b):
    """Order 2 moves toward x_0 at B's place; to the data nothing is corrected and the newest x_0 is reached."""
    r, t, s = places(schedule, 3)
    step = UniPC(Affine(schedule), 2, b)
    line = lambda x, t: polynomial(1, lambda_of(schedule, t))  # noqa: E731
    x, memory = step(line, X, r, t, None, Given())
    x_s, after = step(line, x, t, s, memory, Given())
    h = lambda_of(schedule, s) - lambda_of(schedule, t)
    mean = polynomial(1, lambda_of(schedule, t) + h * (0.5 if b == 2 else 0.5 * h / (1 - math.exp(-h))))
    near(x_s, moved(schedule, after.x, mean, t, s))
    ended, last = step(line, x, t, 0.0, memory, Given())
    near(ended, polynomial(1, lambda_of(schedule, t)))
    assert torch.equal(last.x, x)


def test_over_a_long_step_a_parabola_is_a_line():
    past = tuple(Node(-0.5 * i, polynomial(2, -0.5 * i)) for i in range(3))
    for h, alike in ((LONG * 0.999, False), (LONG * 1.001, True)):
        line = mean_of_x0(past[:2], 0.0, h)
        assert torch.allclose(mean_of_x0(past, 0.0, h), line) == alike
    assert LONG == 1.0  # an e-fold of sigma/alpha, which the notes on samplers state


def test_no_node_is_extrapolated_too_far():
    """What is said may err: a step multiplies that by sum |w|/mass, by `GAIN` at most, with as many nodes as can be."""
    generator = np.random.default_rng(0)
    for _ in range(100):
        nodes = generator.uniform(0.01, 1, 4).cumsum()[::-1].tolist()
        points = [nodes[0] + far for far in generator.uniform(0, 6, 2)]
        masses = (-generator.uniform(0.1, 1, 2)).tolist()
        factors = steady(nodes, points, masses)

        def gains(count: int, nodes=nodes, points=points, masses=masses) -> np.ndarray:
            lagrange = [np.polyfit(nodes[:count], row, count - 1) for row in np.eye(count)]
            return np.array([np.dot(masses, np.polyval(row, points)) for row in lagrange])

        count = len(factors)
        assert factors == pytest.approx(gains(count), rel=1e-4, abs=1e-6)
        assert count == 1 or sum(map(abs, factors)) <= GAIN * -sum(masses)
        for more in range(count + 1, 5):
            assert abs(gains(more)).sum() > GAIN * -sum(masses)
    assert len(steady([0.0, -1.0], [7.0], [1.0])) == 2 and len(steady([0.0, -1.0], [7.1], [1.0])) == 1  # 1 + 2 d
    assert len(steady([0.0, -1.0, -2.0, -3.0], [0.0, 0.5, 1.0], [1 / 6, 4 / 6, 1 / 6])) == 4
