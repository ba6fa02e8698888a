"""Where diffusers does the same thing right we agree with it to rounding; where it is wrong, a law says so.

Its tables are float32. Where it keeps them in an attribute we hand it ours in float64, to compare the arithmetic alone;
some schedulers cast the sample to float32 as well.
"""

import math
from itertools import pairwise

import pytest
import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import EDM, VP, Affine, Belief, Linear
from undiffuse.process import LogLinear as LogLinearSchedule
from undiffuse.sampling.grid import Karras, LogLinearGrid, leading, trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.adams_bashforth import AdamsBashforth, in_log_rho
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM
from undiffuse.step.deis import DEIS
from undiffuse.step.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from undiffuse.step.heun import Heun
from undiffuse.step.unipc import UniPC

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # theirs

TABLE = Affine(Linear())


class Drawn:
    """Standard normals from a torch generator, as diffusers draws them."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


def mixture(process: Affine) -> GaussianMixture:
    """Something curved."""
    means = torch.tensor([[-1.0, 0.5, 0.2], [0.8, -0.4, 1.0]], dtype=torch.float64)
    return GaussianMixture.isotropic(process, means, 0.4)


def eps_of(process: Affine, denoise, x: torch.Tensor, t: float) -> torch.Tensor:
    alpha, sigma, _ = process.schedule.at(t)
    return (x - alpha * denoise(x, t)) / sigma


def noise_at(process: Affine, t: float) -> torch.Tensor:
    return process.start(torch.empty(5, 3, dtype=torch.float64), SeededNoise(11), t)


def ours(step, process: Affine, times, noise=None) -> list[torch.Tensor]:
    """Every state."""
    states = trajectory(step, mixture(process), noise_at(process, times[0]), times, noise or Drawn())
    return [state.x for state in states]


def theirs(scheduler, process: Affine, times, **step_arguments) -> list[torch.Tensor]:
    """Every state of a diffusers scheduler whose own timesteps stand for our times."""
    truth, x = mixture(process), noise_at(process, times[0])
    states = [x]
    for timestep, t in zip(scheduler.timesteps, times, strict=False):
        eps = eps_of(process, truth, x, t)
        x = scheduler.step(eps, timestep, x, **step_arguments).prev_sample.double()
        states.append(x)
    return states


def followed(step, process: Affine, times, states) -> list[torch.Tensor]:
    """Every state that our step makes of another's state before."""
    truth, memory, made = mixture(process), None, [states[0]]
    for (t, s), x in zip(pairwise(times), states, strict=False):
        y, memory = step(truth, x, t, s, memory, Drawn())
        made.append(y)
    return made


def nearly(a: list[torch.Tensor], b: list[torch.Tensor], tolerance: float) -> bool:
    assert len(a) == len(b)
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True)) < tolerance


def in_sigma(name: str, times, process: Affine = TABLE, **config):
    """A scheduler that works in sigma/alpha, with our levels in float64."""
    scheduler = getattr(diffusers, name)(**{"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", **config})
    scheduler.set_timesteps(len(times) - 1)
    levels = [math.exp(-0.5 * process.schedule.at(t).log_snr) for t in times[:-1]]
    scheduler.sigmas = torch.tensor([*levels, 0.0], dtype=torch.float64)
    return scheduler


# ---------------------------------------------------------------------------------------------- what is equal


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [5, 10, 50])
def test_ddim(eta, count):
    """With strides that divide T, where its previous timestep is right."""
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False)
    scheduler.alphas_cumprod = Linear().alpha_bars()
    scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    scheduler.set_timesteps(count)
    times = leading(Linear(), count)
    assert [int(k) + 1 for k in scheduler.timesteps] == [round(1000 * t) for t in times[:-1]]
    expected = theirs(scheduler, TABLE, times, eta=eta, generator=torch.Generator().manual_seed(0))
    assert nearly(ours(DDIM(TABLE, eta), TABLE, times), expected, 1e-11)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm(variance):
    scheduler = diffusers.DDPMScheduler(beta_schedule="linear", clip_sample=False, variance_type=variance)
    scheduler.alphas_cumprod = Linear().alpha_bars()
    scheduler.one = torch.ones((), dtype=torch.float64)
    scheduler.set_timesteps(50)
    times = leading(Linear(), 50)
    truth, x, generator = mixture(TABLE), noise_at(TABLE, times[0]), torch.Generator().manual_seed(0)
    v = float(variance == "fixed_large")
    states = trajectory(Ancestral(TABLE), lambda x, t: Belief(truth(x, t), v), x, times, Drawn())
    for (t, _), timestep, state in zip(pairwise(times), scheduler.timesteps, list(states)[1:], strict=True):
        x = scheduler.step(eps_of(TABLE, truth, x, t), timestep, x, generator=generator).prev_sample
        assert torch.allclose(x, state.x, atol=1e-9)


@pytest.mark.parametrize("count", [6, 20, 47])
def test_dpm_solver_2m(count):
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), count)
    scheduler = in_sigma("DPMSolverMultistepScheduler", times, final_sigmas_type="zero")
    assert nearly(ours(DPMSolverMultistep(TABLE), TABLE, times), theirs(scheduler, TABLE, times), 5e-6)  # float32


def test_dpm_solver_2m_sde():
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), 25)
    scheduler = in_sigma(
        "DPMSolverMultistepScheduler", times, algorithm_type="sde-dpmsolver++", final_sigmas_type="zero"
    )
    truth, x, drawn = mixture(TABLE), noise_at(TABLE, times[0]), Drawn()
    mine = ours(DPMSolverMultistep(TABLE, eta=1.0), TABLE, times)
    for timestep, t, expected in zip(scheduler.timesteps, times, mine[1:], strict=False):
        x = scheduler.step(eps_of(TABLE, truth, x, t), timestep, x, variance_noise=drawn.normal(x)).prev_sample.double()
        assert torch.allclose(x, expected, atol=5e-6)


def test_dpm_solver_2s():
    """Its singlestep solver visits our half-way points as timesteps of their own."""
    whole = LogLinearGrid(sigma_min=0.02, sigma_max=100.0)(Linear(), 21)[:-1]  # every second one is half way
    scheduler = in_sigma("DPMSolverSinglestepScheduler", (*whole, 0.0), solver_order=2, lower_order_final=False)
    scheduler.order_list = [1, 2] * 11
    expected = theirs(scheduler, TABLE, whole[:-1])
    mine = ours(DPMSolverSinglestep(TABLE), TABLE, whole[::2])
    assert nearly(mine, expected[::2], 5e-6)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("b", [1, 2])
def test_unipc(order, b):
    """To the last step but one: to the data its linear system is singular, unless it is told to end in lower order."""
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), 20)
    scheduler = in_sigma(
        "UniPCMultistepScheduler",
        times,
        solver_order=order,
        solver_type=f"bh{b}",
        final_sigmas_type="zero",
        lower_order_final=False,
    )
    expected = theirs(scheduler, TABLE, times[:-2])
    assert nearly(ours(UniPC(TABLE, order, b), TABLE, times)[:-1], expected, 1e-11)


def test_unipc_whole():
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), 20)
    scheduler = in_sigma("UniPCMultistepScheduler", times, solver_order=2, final_sigmas_type="zero")
    assert nearly(ours(UniPC(TABLE, 2), TABLE, times), theirs(scheduler, TABLE, times), 1e-11)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_with_its_polynomial(order):
    """diffusers' DEIS is a polynomial in log rho. But for its first steps and its last, of lower order."""
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), 20)
    scheduler = in_sigma("DEISMultistepScheduler", times, solver_order=order, lower_order_final=False)
    expected = theirs(scheduler, TABLE, times)
    made = followed(AdamsBashforth(TABLE, order, in_log_rho), TABLE, times, expected)
    assert nearly(made[order:-1], expected[order:-1], 1e-11)


def test_deis_of_the_paper():
    """The paper's polynomial in time is another where log rho is not linear in t, and the same where it is."""
    times = Karras(sigma_min=0.02, sigma_max=100.0)(Linear(), 20)
    paper, diffusers_own = (ours(step, TABLE, times) for step in (DEIS(TABLE, 3), AdamsBashforth(TABLE, 3, in_log_rho)))
    assert not nearly(paper, diffusers_own, 1e-3)
    process = Affine(LogLinearSchedule(0.02, 100.0))
    times = LogLinearGrid(0.02, 100.0)(process.schedule, 20)[:-1]
    paper, diffusers_own = (
        ours(step, process, times) for step in (DEIS(process, 3), AdamsBashforth(process, 3, in_log_rho))
    )
    assert nearly(paper, diffusers_own, 1e-11)


@pytest.mark.parametrize("count", [5, 18])
def test_heun(count):
    """EDM's, in sigma with alpha = 1: two of its steps are one of ours."""
    process = Affine(EDM())
    times = Karras()(EDM(), count)
    scheduler = diffusers.HeunDiscreteScheduler(beta_schedule="linear")
    scheduler.set_timesteps(count)
    levels = torch.tensor([process.schedule.at(t).sigma for t in times], dtype=torch.float64)
    scheduler.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
    truth, x = mixture(process), noise_at(process, times[0])
    mine = ours(Heun(process), process, times)
    visited = [times[0], *(t for t in times[1:-1] for _ in range(2))]
    ends = []
    for timestep, t in zip(scheduler.timesteps, visited, strict=True):
        x = scheduler.step(eps_of(process, truth, x, t), timestep, x).prev_sample
        ends.append(x)
    assert nearly(mine[1:], [*ends[1::2], ends[-1]], 1e-11)


def test_edm_euler_is_ddim():
    process = Affine(EDM())
    times = Karras()(EDM(), 12)
    scheduler = diffusers.EDMEulerScheduler(sigma_data=1.0)
    scheduler.set_timesteps(12)
    truth, x = mixture(process), noise_at(process, times[0])
    mine = ours(DDIM(process), process, times)
    scheduler.sigmas = torch.tensor([process.schedule.at(t).sigma for t in times], dtype=torch.float64)
    for timestep, t, expected in zip(scheduler.timesteps, times, mine[1:], strict=False):
        sigma = process.schedule.at(t).sigma
        x_0 = truth(x, t)  # as its F: x_0 = c_skip x + c_out F
        c_skip, c_out = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1) ** 0.5
        x = scheduler.step((x_0 - c_skip * x) / c_out, timestep, x).prev_sample.double()
        assert torch.allclose(x, expected, atol=5e-6)


# ------------------------------------------------------------------------------------------- what is not equal


def gaussian_error(times, ends: torch.Tensor, process: Affine) -> float:
    truth = half(process)
    return (ends - truth.flow(noise_at(process, times[0]), times[0], 0.0)).abs().max().item()


def half(process: Affine) -> Gaussian:
    """N(0, 1/4)."""
    return Gaussian(process, torch.zeros(3, dtype=torch.float64), 0.25 * torch.eye(3, dtype=torch.float64))


def test_the_previous_timestep_of_trailing():
    """t - 1000//n is not the next timestep where n does not divide 1000: more steps, worse result (diffusers#9261)."""
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False, timestep_spacing="trailing")
    errors = {}
    for count in (100, 700):
        scheduler.set_timesteps(count)
        truth, times = half(TABLE), trailing(Linear(), count)
        x = noise_at(TABLE, 1.0)
        for timestep in scheduler.timesteps:
            t = (int(timestep) + 1) / 1000
            x = scheduler.step(eps_of(TABLE, truth, x, t), timestep, x).prev_sample
        mine = last(trajectory(DDIM(TABLE), truth, noise_at(TABLE, 1.0), times, Drawn()))
        errors[count] = gaussian_error(times, x, TABLE), gaussian_error(times, mine, TABLE)
    assert errors[700][1] < errors[100][1] / 5  # ours falls with the steps
    assert errors[700][0] > errors[100][0]  # theirs rises
    assert errors[700][0] > 20 * errors[700][1]


def test_sixty_one_steps_are_sixty_one():
    """A float arange gives 62, the last at timestep -1."""
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(61)
    assert len(scheduler.timesteps) == 62
    assert int(scheduler.timesteps[-1]) == -1
    assert len(trailing(Linear(), 61)) == 61 + 1
    assert trailing(Linear(), 61)[-2] > 0


def test_churn_comes_before_the_denoiser():
    """Noise added after the denoiser was asked is never taken out: the spread is too large, and stays so."""
    process, count = Affine(EDM(sigma_max=20.0)), 100
    truth = half(process)
    times = Karras(sigma_max=20.0)(process.schedule, count)
    x_1 = process.start(torch.empty(4000, 3, dtype=torch.float64), SeededNoise(1), 1.0)
    churn = min(40 / count, math.sqrt(2) - 1)
    mine = last(trajectory(Heun(process, churn=churn), truth, x_1, times, SeededNoise(2)))
    scheduler = diffusers.EulerDiscreteScheduler(beta_schedule="linear")
    scheduler.set_timesteps(count)
    scheduler.sigmas = torch.tensor([process.schedule.at(t).sigma for t in times], dtype=torch.float64)
    x, generator = x_1, torch.Generator().manual_seed(0)
    for timestep, t in zip(scheduler.timesteps, times, strict=False):
        eps = eps_of(process, truth, x, t)
        x = scheduler.step(eps, timestep, x, s_churn=40.0, generator=generator).prev_sample.double()
    assert mine.std().item() == pytest.approx(0.5, rel=0.03)
    assert x.std().item() > 0.53


def test_the_third_order_of_dpm_solver():
    """Its 3M halves the second derivative, and so has order 2; ours integrates the parabola, and has order 3."""
    process = Affine(VP())
    truth = Gaussian(process, torch.zeros(3, dtype=torch.float64), torch.diag(torch.tensor([0.3, 1.0, 3.0]).double()))
    errors: dict[str, list[float]] = {"theirs": [], "ours": []}
    for count in (20, 40, 80):
        times = [0.9 - 0.6 * i / count for i in range(count + 1)]
        levels = [math.exp(-0.5 * process.schedule.at(t).log_snr) for t in times]
        scheduler = diffusers.DPMSolverMultistepScheduler(
            beta_schedule="linear", solver_order=3, lower_order_final=False, euler_at_final=False
        )
        scheduler.set_timesteps(count)
        scheduler.sigmas = torch.tensor(levels, dtype=torch.float64)
        x = noise_at(process, 0.9)
        end = truth.flow(x, 0.9, times[-1])
        memory, y = None, x
        for i, (t, s) in enumerate(pairwise(times)):
            z, memory = DPMSolverMultistep(process, 3)(truth, y, t, s, memory, Drawn())
            x = scheduler.step(eps_of(process, truth, x, t), scheduler.timesteps[i], x).prev_sample.double()
            if i < 2:  # an exact start for both
                x = z = truth.flow(noise_at(process, 0.9), 0.9, s)
            y = z
        errors["theirs"].append((x - end).abs().max().item())
        errors["ours"].append((y - end).abs().max().item())
    order = {name: math.log2(values[0] / values[-1]) / 2 for name, values in errors.items()}
    assert order["ours"] == pytest.approx(3, abs=0.3), errors
    assert order["theirs"] == pytest.approx(2, abs=0.3), errors
