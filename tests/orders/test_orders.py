"""Orders of convergence, on the one probability flow with a closed form: a Gaussian's."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import EDM, VP, Affine, Cosine, Flow, Linear, Shifted, SubVP, ZeroTerminal, ZeroTerminalTable
from undiffuse.process.schedule import Schedule
from undiffuse.sampling.grid import Karras, LogLinearGrid, log_snr_uniform
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.adams_bashforth import AdamsBashforth, in_log_rho
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM
from undiffuse.step.deis import DEIS
from undiffuse.step.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from undiffuse.step.euler import Euler
from undiffuse.step.euler_maruyama import EulerMaruyama
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.step.unipc import UniPC

NOISE = SeededNoise(0)
SCHEDULES = {"VP": VP(), "EDM": EDM(), "Flow": Flow()}

# step, order once begun, how many steps of exact start-up that takes
ODE_STEPS = {
    "ddim": (DDIM, 1, 0),
    "gradient-estimation": (GradientEstimation, 1, 0),
    "euler": (Euler, 1, 0),
    "heun": (Heun, 2, 0),
    "2S": (DPMSolverSinglestep, 2, 0),
    "2M": (DPMSolverMultistep, 2, 0),
    "3M": (lambda p: DPMSolverMultistep(p, 3), 3, 0),
    "unipc-1": (lambda p: UniPC(p, 1), 2, 0),
    "unipc-2": (lambda p: UniPC(p, 2), 3, 0),
    "unipc-2-b1": (lambda p: UniPC(p, 2, b=1), 3, 0),
    "unipc-3": (lambda p: UniPC(p, 3), 4, 0),
    "adams-bashforth-1": (lambda p: AdamsBashforth(p, 1), 1, 0),
    "adams-bashforth-2": (AdamsBashforth, 2, 0),
    "adams-bashforth-3": (lambda p: AdamsBashforth(p, 3), 3, 0),
    "adams-bashforth-4": (lambda p: AdamsBashforth(p, 4), 4, 3),
    "deis-2": (lambda p: DEIS(p, 2), 2, 0),
    "deis-3": (lambda p: DEIS(p, 3), 3, 0),
    "deis-4": (DEIS, 4, 3),
    "deis-log-rho-3": (lambda p: AdamsBashforth(p, 3, in_log_rho), 3, 0),
}


def gaussian(process: Affine, *stds: float) -> Gaussian:
    """Mean 0.7 and these standard deviations. Two axes, because on one the error may pass through zero."""
    covariance = torch.tensor(stds, dtype=torch.float64).diag() ** 2
    return Gaussian(process, torch.full((len(stds),), 0.7, dtype=torch.float64), covariance)


def start(process: Affine, t: float) -> torch.Tensor:
    return process.start(torch.zeros(16, 2, dtype=torch.float64), SeededNoise(3), t)


def error(step, process: Affine, times, exact_steps: int = 0) -> float:
    """The largest error at the end, after ``exact_steps`` whose results are replaced by the truth."""
    truth = gaussian(process, 0.6, 1.6)
    x, memory = start(process, times[0]), None
    for i, (t, s) in enumerate(pairwise(times)):
        y, memory = step(truth, x, t, s, memory, NOISE)
        x = truth.flow(x, t, s) if i < exact_steps else y
    return (x - truth.flow(start(process, times[0]), times[0], times[-1])).abs().max().item()


def fitted_order(errors: dict[int, float]) -> float:
    """The slope of log error over log steps, by least squares."""
    x, y = (torch.tensor([math.log(v) for v in values], dtype=torch.float64) for values in (errors, errors.values()))
    return -float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("make", "order", "exact_steps"), ODE_STEPS.values(), ids=ODE_STEPS)
def test_each_ode_step_has_its_order(schedule, make, order, exact_steps):
    process = Affine(schedule)
    interval = Karras(sigma_min=0.05, sigma_max=20.0)
    errors = {n: error(make(process), process, interval(schedule, n + 1)[:-1], exact_steps) for n in (80, 113, 160)}
    assert fitted_order(errors) == pytest.approx(order, abs=0.3), errors


def mixture(process: Affine) -> GaussianMixture:
    """Three modes that are still apart at sigma = .5."""
    means = torch.tensor([[-1.0, 0.2], [1.1, 0.9], [0.9, -1.7]], dtype=torch.float64)
    return GaussianMixture.isotropic(process, means, 0.5, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


@lru_cache
def solved(schedule: Schedule, first: float, final: float) -> torch.Tensor:
    """Where the mixture's flow ends, by another's solver: dy/d rho = z, y = x/alpha."""
    process = Affine(schedule)
    truth, x = mixture(process), start(process, first)

    def slope(rho: float, y: np.ndarray) -> np.ndarray:
        t = float(schedule.time(torch.tensor(-2 * math.log(rho), dtype=torch.float64)))
        y_t = torch.from_numpy(y).view_as(x)
        return ((y_t - truth(y_t * schedule.at(t).alpha, t)) / rho).flatten().numpy()

    (a, b), alpha = (math.exp(-0.5 * schedule.at(t).log_snr) for t in (first, final)), schedule.at(first).alpha
    end = solve_ivp(slope, (a, b), (x / alpha).flatten().numpy(), "DOP853", [b], rtol=1e-11, atol=1e-11).y[:, -1]
    return torch.from_numpy(end).view_as(x) * schedule.at(final).alpha


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("make", "order"), [row[:2] for row in ODE_STEPS.values()], ids=ODE_STEPS)
@pytest.mark.parametrize("problem", ["gaussian", "mixture"])
def test_the_order_from_a_cold_start(problem, schedule, make, order):
    """Begun at sigma = 2, amid everything, with no memory: up to order 3 it is kept, and 4 begins with 3."""
    process, interval, errors = Affine(schedule), LogLinearGrid(0.2, 2.0), {}
    for n in (60, 120):
        times = interval(schedule, n + 1)[:-1]
        if problem == "gaussian":
            errors[n] = error(make(process), process, times)
        else:
            end = last(trajectory(make(process), mixture(process), start(process, times[0]), times, NOISE))
            errors[n] = (end - solved(schedule, times[0], times[-1])).abs().max().item()
    assert fitted_order(errors) > min(order, 3) - 0.2, errors


FROM_NOTHING = {
    "Flow": Flow(),
    "shifted Flow": Shifted(Flow()),
    "zero-terminal VP": ZeroTerminal(VP()),
    "zero-terminal table": ZeroTerminalTable(Linear()),
}


@pytest.mark.parametrize("schedule", FROM_NOTHING.values(), ids=FROM_NOTHING)
@pytest.mark.parametrize("name", ["heun", "2S", "2M", "unipc-2", "adams-bashforth-2", "deis-2", "euler", "ddim"])
def test_from_nothing_to_the_data(schedule, name):
    """Alpha = 0 at the start and sigma = 0 at the end cost one first-order step each, and so no second order."""
    make, order, _ = ODE_STEPS[name]
    process = Affine(schedule)
    assert schedule.at(1.0).alpha == 0
    errors = {n: error(make(process), process, [(i / n) ** 2 for i in range(n, -1, -1)]) for n in (100, 200, 400)}
    assert fitted_order(errors) > min(order, 2) - 0.3, errors


@pytest.mark.parametrize("schedule", [VP(), SubVP(), Cosine(), Linear(), EDM(), Flow()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["2M", "3M", "unipc-3", "deis-4"])
def test_twenty_steps_to_the_data(schedule, name):
    """From noise to the data on a grid for it: nearer by far than DDIM on the same."""
    process = Affine(schedule)
    times = log_snr_uniform(schedule, 20)
    assert error(ODE_STEPS[name][0](process), process, times) < 0.2 * error(DDIM(process), process, times)


# ------------------------------------------------------------------------------------------------ stochastic

# step, weak order
SDE_STEPS = {
    "ddpm": (Ancestral, 1),
    "ddim-eta-half": (lambda p: DDIM(p, eta=0.5), 1),
    "gradient-estimation-ddpm": (lambda p: GradientEstimation(p, gamma=1.0, mu=0.5), 1),
    "2M-sde": (lambda p: DPMSolverMultistep(p, eta=1.0), 2),
    "3M-sde": (lambda p: DPMSolverMultistep(p, order=3, eta=1.0), 2),
    "2M-eta-half": (lambda p: DPMSolverMultistep(p, eta=0.5), 2),
    "euler-maruyama": (EulerMaruyama, 1),
    "heun-churn": (lambda p: Heun(p, churn=0.1), 1),
}


class Impulses:
    """Noise that is 1 in the sample whose turn it is: sample i hears draw i alone, so linear steps show their gains."""

    def __init__(self) -> None:
        self.draws = 0

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        z = torch.zeros_like(like)
        z[2 + self.draws] = 1.0
        self.draws += 1
        return z


def law_at_the_end(step, process: Affine, times) -> tuple[float, float]:
    """Mean and variance at the end, exactly, for N(0.7, 0.6^2): every step is affine in x and in each draw of noise.

    x starts with the exact law of its time. Row 0 starts at that law's mean, row 1 one standard deviation above, and
    row 2 + i hears the i-th draw.
    """
    alpha, sigma, _ = process.schedule.at(times[0])
    x = torch.full((2 + 2 * len(times), 1), 0.7 * alpha, dtype=torch.float64)
    x[1] += math.hypot(0.6 * alpha, sigma)
    end = last(trajectory(step, gaussian(process, 0.6), x, times, Impulses()))[:, 0]
    return end[0].item(), float(((end[1:] - end[0]) ** 2).sum())


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("make", "order"), SDE_STEPS.values(), ids=SDE_STEPS)
def test_each_sde_step_has_its_weak_order(schedule, make, order):
    """In the variance at the end, by exact propagation, not by sampling; and in the mean, where it errs at all."""
    process = Affine(schedule)
    laws = {n: law_at_the_end(make(process), process, Karras()(schedule, n)) for n in (200, 400, 800)}
    slope = fitted_order({n: abs(variance - 0.36) for n, (_, variance) in laws.items()})
    assert slope > order - 0.1, laws  # Euler-Maruyama gains an order on EDM, where nothing but sigma changes
    mean_off = {n: abs(mean - 0.7) for n, (mean, _) in laws.items()}
    assert max(mean_off.values()) < 1e-12 or fitted_order(mean_off) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("predictor", [DDIM, Ancestral])
def test_predictor_corrector_errs_by_its_steps_and_the_correctors_bias(schedule, predictor):
    """Exactly, for a Gaussian: nearer than its predictor alone, until what is left is the bias that it states."""
    process = Affine(schedule)
    alone, corrected = (
        [law_at_the_end(step, process, Karras()(schedule, n))[1] / 0.36 - 1 for n in (50, 200, 800)]
        for step in (predictor(process), PredictorCorrector(process, predictor(process)))
    )
    assert all(abs(after) < abs(before) for before, after in zip(alone, corrected, strict=True)), (alone, corrected)
    assert abs(corrected[-1]) < 0.16**2 / (1 - 0.16**2)


# ---------------------------------------------------------------------------------- the gradient-estimation table


def scale_over_exact(step, schedule, times) -> float:
    """N(0, 1) data: where a trajectory ends, over where the exact flow ends."""
    process = Affine(schedule)
    zero = Gaussian(process, torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    x = torch.ones(1, 1, dtype=torch.float64)
    return (last(trajectory(step(process), zero, x, times, NOISE)) / zero.flow(x, times[0], times[-1])).item()


@pytest.mark.parametrize(
    ("count", "printed"),
    [
        (5, (".662", ".913", "1.061")),
        (10, (".813", ".989", "1.094")),
        (20, (".902", "1.006", "1.071")),
        (50, (".959", "1.006", "1.036")),
    ],
)
def test_the_closed_form_table(count, printed):
    """Exact noise of N(0, 1), sigma log-spaced from 40 to .01: gamma = 1, 1.6, 2, to the last printed digit."""
    times = LogLinearGrid(0.01, 40.0)(EDM(), count + 1)[:-1]
    for gamma, expected in zip((1.0, 1.6, 2.0), printed, strict=True):
        scale = scale_over_exact(lambda p, gamma=gamma: GradientEstimation(p, gamma), EDM(), times)
        assert f"{scale:.3f}".removeprefix("0") == expected


@pytest.mark.parametrize(("count", "printed"), [(10, ".488"), (20, ".680"), (50, ".851"), (200, ".960")])
def test_the_closed_form_variances(count, printed):
    """The same with gamma = 1, mu = 1/2, which is DDPM: the final variance."""
    process = Affine(EDM())
    zero = Gaussian(process, torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    times = LogLinearGrid(0.01, 40.0)(EDM(), count + 1)[:-1]
    x = torch.zeros(2 + count, 1, dtype=torch.float64)
    x[1] = math.sqrt(1 + 40**2)
    gains = last(trajectory(GradientEstimation(process, 1.0, 0.5), zero, x, times, Impulses()))
    assert f"{float((gains**2).sum()):.3f}".removeprefix("0") == printed
