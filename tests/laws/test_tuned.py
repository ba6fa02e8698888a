"""Samplers as tables of numbers, and the search for the best: exact on Gaussians, better than fixed on a mixture."""

import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import EDM, Affine, Flow, Linear, PoissonNoise
from undiffuse.sampling.grid import angle_uniform, trailing, widening
from undiffuse.sampling.loop import Counted, last, sample, trajectory
from undiffuse.sampling.samplers import SAMPLERS
from undiffuse.sampling.tuned.gauss_newton import Descent, descend
from undiffuse.sampling.tuned.parameters import EveryNumber, GridOf, shifted
from undiffuse.sampling.tuned.problem import Problem, solution
from undiffuse.sampling.tuned.tableau import Tableau, Tabled, read
from undiffuse.sampling.tuned.tune import Start, fixed, tune
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM
from undiffuse.step.heun import Heun

ONE_EVALUATION = ("ddim", "gradient-estimation", "euler", "dpm++2m", "dpm++3m", "unipc", "deis", "adams-bashforth")
PROCESSES = {
    "linear": Affine(Linear()),
    "flow": Affine(Flow()),
    "edm": Affine(EDM(), sigma_data=0.5),
    "poisson": Affine(EDM(), PoissonNoise(8)),
}


def mixture(process: Affine) -> GaussianMixture:
    means = torch.tensor([[-1.0, 0.2, 0.5], [1.1, 0.9, -0.4], [0.9, -1.2, 0.1]], dtype=torch.float64)
    return GaussianMixture.isotropic(Affine(process.schedule), means, 0.15)


def gaussian(process: Affine, std: float, mean: float = 0.0) -> Gaussian:
    return Gaussian(process, torch.full((4,), mean, dtype=torch.float64), std**2 * torch.eye(4, dtype=torch.float64))


def like(count: int, size: int = 3) -> torch.Tensor:
    return torch.empty(count, size, dtype=torch.float64)


# ---------------------------------------------------------------------------------------------- tableaus


@pytest.mark.parametrize("name", ONE_EVALUATION)
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_a_tableau_is_its_sampler(name, process):
    step, grid = SAMPLERS[name].make(process), SAMPLERS[name].grid(process.schedule, 6)
    counted, denoise = Counted(mixture(process)), mixture(process)
    mine = sample(process, Tabled(process, read(process, step, grid)), counted, like(5), grid, seed=1)
    assert_close(mine, sample(process, step, denoise, like(5), grid, seed=1), rtol=1e-9, atol=1e-9)
    assert counted.count == 6


def test_two_evaluations_a_step_are_a_tableau_too():
    process = PROCESSES["linear"]
    step, grid = SAMPLERS["dpm++2s"].make(process), widening(process.schedule, 4)
    tableau = read(process, step, grid)
    assert len(tableau.times) == 7
    start = process.start(like(5), SeededNoise(2), tableau.times[0])
    mine, theirs = (
        last(trajectory(which, mixture(process), start, times, SeededNoise(0)))
        for which, times in ((Tabled(process, tableau), tableau.grid), (step, grid))
    )
    assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_what_has_no_tableau_is_refused():
    process = PROCESSES["linear"]
    with pytest.raises(UserError, match="Ancestral adds fresh noise"):
        read(process, Ancestral(process), trailing(process.schedule, 4))
    with pytest.raises(UserError, match="fall strictly"):
        read(process, Heun(process), trailing(process.schedule, 4))


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ((), ()),
        ((1.5,), ((0.0, 1.0),)),
        ((0.5, 0.6), ((0.0, 1.0), (0.0, 0.0, 1.0))),
        ((0.5, 0.0), ((0.0, 1.0), (0.0, 0.0, 1.0))),
        ((0.5,), ((0.0, 1.0, 2.0),)),
        ((0.5,), ()),
        ((0.5,), ((0.0, math.nan),)),
    ],
)
def test_a_tableau_that_is_none_is_refused(times, rows):
    with pytest.raises(UserError):
        Tableau(times, rows)


def test_a_tabled_step_keeps_to_its_own_grid():
    process = PROCESSES["linear"]
    step = Tabled(process, read(process, DDIM(process), trailing(process.schedule, 4)))
    with pytest.raises(UserError, match="its own grid"):
        sample(process, step, mixture(process), like(2), trailing(process.schedule, 5))


# ---------------------------------------------------------------------------------------------- Gaussians


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_ddim_on_equal_angles_scales_by_their_cosine(count):
    """N(0, 1): by cos(Phi/N)^N, Phi = arctan 160."""
    process, times = PROCESSES["linear"], angle_uniform(PROCESSES["linear"].schedule, count)
    points = map(process.schedule.at, times)
    step = math.atan(process.schedule.at(1.0).sigma / process.schedule.at(1.0).alpha) / count
    assert_close([a - b for a, b in pairwise(math.atan2(p.sigma, p.alpha) for p in points)], [step] * count)
    end = sample(process, DDIM(process), gaussian(process, 1.0), like(3, 4), times)
    assert_close(end, SeededNoise(0).normal(like(3, 4)) * math.cos(step) ** count)


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_the_best_grid_of_ddim_is_uniform_in_arctan(std):
    """Of N(0, c^2) uniform in arctan(sigma/c), where the error is c (1 - cos(Phi/N)^N); no other grid errs less."""
    process, count = PROCESSES["flow"], 5
    denoise = gaussian(process, std)
    z = process.start(like(16, 4), SeededNoise(0))
    problem = Problem(process, denoise, z, std * z)
    start = Start(DDIM(process), read(process, DDIM(process), trailing(process.schedule, count)))
    *_, found = tune(problem, problem, start, rounds=30, grid_alone=True)
    assert found.tableau.times[0] == 1.0  # from anywhere else the start would be exact
    angles = [math.atan2(point.sigma, std * point.alpha) for point in map(process.schedule.at, found.tableau.times)]
    steps = torch.tensor([a - b for a, b in pairwise([*angles, 0.0])])
    assert_close(steps, torch.full((count,), math.pi / 2 / count), rtol=0.06, atol=0.0)
    least = problem.errors(std * z * math.cos(math.pi / 2 / count) ** count).median()
    assert least <= found.error < 1.002 * least < problem.error(start.tableau) / 1.05


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_free_coefficients_are_exact_for_a_gaussian_in_one_step(mean):
    process = PROCESSES["linear"]
    denoise = gaussian(process, 0.3, mean)
    drawn = Problem.draw(process, denoise, like(16, 4), fine=2)
    truth = denoise.flow(drawn.z / process.input_scale(1.0), 1.0)
    problem = Problem(process, denoise, drawn.z, truth)
    start = fixed(process, 1)["ddim"]
    *_, found = tune(problem, problem, start)
    assert problem.error(start.tableau) > 0.1
    assert found.error < 1e-6


# ---------------------------------------------------------------------------------------------- the search


def lots(process: Affine, count: int = 48) -> list[Problem]:
    return [Problem.draw(process, mixture(process), like(count), first=i * count) for i in range(3)]


def test_tuned_halves_the_error_on_noise_it_has_not_seen():
    fit, choose, unseen = lots(PROCESSES["linear"])
    starts = fixed(fit.process, 4)
    assert (
        {"ddim", "ddim on angle-uniform", "unipc"}
        <= set(starts)
        <= {*ONE_EVALUATION, *(f"{n} on angle-uniform" for n in ONE_EVALUATION)}
    )
    best = min(starts.values(), key=lambda start: choose.error(start.tableau))
    errors = [found.error for found in tune(fit, choose, best)]
    *_, found = tune(fit, choose, best)
    assert errors == sorted(errors, reverse=True)
    assert found.error == errors[-1]  # the same seed, the same result
    assert unseen.error(found.tableau) < 0.5 * min(unseen.error(start.tableau) for start in starts.values())


def test_a_grid_alone_keeps_the_solver():
    fit, choose, unseen = lots(PROCESSES["linear"])
    start = fixed(fit.process, 4)["ddim"]
    *_, found = tune(fit, choose, start, grid_alone=True)
    assert unseen.error(found.tableau) < unseen.error(start.tableau)
    assert found.tableau == read(fit.process, start.step, found.tableau.grid)


def test_it_falls_back_where_other_noise_disagrees():
    fit, choose, _ = lots(PROCESSES["linear"])
    start = fixed(fit.process, 3)["unipc"]
    misled = Problem(fit.process, fit.denoise, fit.z, fit.truth.roll(1, 0))
    found = list(tune(misled, choose, start))
    assert len(found) > 1
    assert found[-1].tableau == start.tableau


def test_the_fine_solution_is_the_flow():
    process = PROCESSES["linear"]
    denoise = gaussian(process, 0.3)
    z = process.start(like(4, 4), SeededNoise(0)) * process.input_scale(1.0)
    high = widening(process.schedule, 100)[0]
    truth = denoise.flow(z / process.input_scale(high), high)
    assert_close(solution(process, denoise, z, 100), truth, rtol=1e-4, atol=1e-4)


def test_noise_is_kept_apart():
    """From that of samples, which are counted from 0, and of one lot from another's."""
    a, b, _ = lots(PROCESSES["linear"], 8)
    x = PROCESSES["linear"].start(like(8), SeededNoise(0)) * PROCESSES["linear"].input_scale(1.0)
    both = Problem.draw(a.process, a.denoise, like(16))
    assert not torch.isclose(a.z, x).any()
    assert_close(both.z, torch.cat([a.z, b.z]))


def test_a_time_moves_by_parts_of_its_step_and_pure_noise_stays():
    schedule = Flow()
    times = angle_uniform(schedule, 4)[:-1]
    moved = shifted(schedule, times, [0.0, 0.5, 0.0, 1.0])
    place = [0.5 * schedule.at(t).log_snr for t in (*times, *moved)]
    assert moved[0] == times[0] and moved[2] == times[2]
    assert place[5] - place[1] == pytest.approx(0.5 * min(place[2] - place[1], 1.0))
    assert place[7] - place[3] == pytest.approx(1.0)
    assert shifted(schedule, [1.0, 0.5], [0.5, 0.0]) == (1.0, 0.5)


def test_parameters_that_are_no_tableau_are_not_taken():
    process = PROCESSES["linear"]
    grid = GridOf(process, DDIM(process), trailing(process.schedule, 4)[:-1])
    with pytest.raises(UserError):
        grid.moved([0.0, 9.0, 0.0, 0.0])


def test_a_change_that_no_damping_makes_better_is_none():
    """At the best place there is no better one."""
    process = PROCESSES["linear"]
    denoise = gaussian(process, 0.3)
    z = process.start(like(8, 4), SeededNoise(0)) * process.input_scale(1.0)
    tableau = read(process, DDIM(process), trailing(process.schedule, 2))
    problem = Problem(process, denoise, z, torch.zeros_like(z))
    problem = Problem(process, denoise, z, problem.end(tableau))
    terms = problem.terms(tableau)
    assert descend(problem, EveryNumber.of(process, tableau, terms), terms, Descent(tableau, 0.0)) is None
