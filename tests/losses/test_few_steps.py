"""Every method of few steps has its minimum where it says: at the flow's end, at Euler's, or at two steps of a teacher.

On N(m, s^2) the flow is a line: x_s - alpha_s m = (x_t - alpha_t m) S_s/S_t, S^2 = alpha^2 s^2 + sigma^2.
"""

import math
from itertools import pairwise

import pytest
import torch
from stand_ins import numbers, seeded
from torch import nn

from undiffuse.condition.encoder import Routes
from undiffuse.denoiser.flow_map import FlowMap, landing
from undiffuse.denoiser.prediction import V
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.loss.consistency import ConsistencyDistillation, ConsistencyTraining, apart, levels
from undiffuse.loss.continuous import tangent
from undiffuse.loss.denoising import Squared
from undiffuse.loss.easy_consistency import EasyConsistencyTuning
from undiffuse.loss.few_step import Teacher, velocity
from undiffuse.loss.improved_consistency import ImprovedConsistencyTraining
from undiffuse.loss.methods import METHODS, method_of
from undiffuse.loss.progressive import ProgressiveDistillation, aim
from undiffuse.loss.trajectory import TrajectoryDistillation, on_the_way, shifted, solution
from undiffuse.process import Affine, Cosine
from undiffuse.sampling.grid import angle_uniform

MEAN, STD = 0.7, 0.4
PROCESS = Affine(Cosine())


class LevelAlone(nn.Module):
    """An encoder of nothing but the noise level."""

    second = None

    def forward(self, log_snr, conditions=None, second=None):
        return Routes(log_snr)


class Ends(nn.Module):
    """Says v such that X is where the flow of N(MEAN, STD^2) ends, but for an error that begins as 0."""

    def __init__(self):
        super().__init__()
        self.wrong = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, w, routes):
        alpha, sigma = (sign.sigmoid().sqrt().reshape(-1, 1) for sign in (routes.vector, -routes.vector))
        end = MEAN + STD / (alpha**2 * STD**2 + sigma**2) ** 0.5 * (w - alpha * MEAN)
        return (alpha * w - end) / sigma + self.wrong * w.sin()


def student(net=None):
    return FlowMap(net or Ends(), PROCESS, V(), LevelAlone())


def mean_of_gaussian(x_t, t, conditions=None):
    alpha, sigma, _ = PROCESS.schedule.at(torch.as_tensor(t, dtype=torch.float64))
    alpha, sigma = alpha.reshape(-1, 1), sigma.reshape(-1, 1)
    return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x_t - alpha * MEAN)


TEACHER = Teacher(mean_of_gaussian, PROCESS, nn.Identity())


def data(count=4096):
    return MEAN + STD * torch.randn(count, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def slope(loss, wrong):
    """The derivative of the mean loss by the student's error, where that is ``wrong``."""
    flow_map = student()
    with torch.no_grad():
        flow_map.net.wrong.fill_(wrong)
    (gradient,) = torch.autograd.grad(loss(flow_map, data(), seeded()).mean(), flow_map.net.wrong)
    return float(gradient)


def begun(method):
    flow_map = student()
    flow_map.adopt = lambda other: None  # it is exact already
    return method.begin(flow_map, TEACHER, 1000)


@pytest.mark.parametrize(
    "method",
    [ConsistencyDistillation(200, Squared()), TrajectoryDistillation(200, Squared())],
    ids=lambda method: type(method).__name__,
)
def test_the_minimum_is_where_the_flow_ends(method):
    loss = begun(method)
    with torch.no_grad():
        assert loss(student(), data(), seeded()).mean() < 1e-6
    below, here, above = (slope(loss, wrong) for wrong in (-0.1, 0.0, 0.1))
    assert below < 0 < above and abs(here) < 0.01 * min(-below, above)


def test_what_a_trajectory_teaches_on_the_way_is_even_in_the_angle():
    """As a sampler's grid is: in each sixth of the right angle as many states as in the next."""
    times = shifted(PROCESS.schedule, 400, seeded())
    i = on_the_way(student(), times, 20_000, seeded())
    assert i.shape == (3, 20_000) and i.min() == 1 and 300 < i.max() < 400
    angles = (-0.5 * PROCESS.schedule.at(torch.tensor(times, dtype=torch.float64)[i]).log_snr).exp().atan()
    shares = torch.histc(angles, 6, 0, math.pi / 2) / angles.numel()
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 6), atol=0.01, rtol=0)


def test_a_quarter_of_what_a_trajectory_teaches_is_its_start():
    seen = []

    class Told(FlowMap):
        def forward(self, x_t, t, conditions=None, s=None):
            seen.append(t)
            return x_t

    flow_map = Told(nn.Identity(), PROCESS, V(), LevelAlone())
    flow_map.adopt = lambda other: None
    TrajectoryDistillation().begin(flow_map, TEACHER, 1)(flow_map, data(256), seeded())
    assert (seen[0] == seen[0].max()).sum() == 64 and len(seen[0]) == 256
    sigma = (-0.5 * PROCESS.schedule.at(seen[0].max()).log_snr).exp()
    torch.testing.assert_close(sigma, numbers(80.0)[0])


def mixture():
    """Two narrow Gaussians on the line."""
    return GaussianMixture(PROCESS, numbers(0.3, 0.7), numbers(-1.0, 0.8)[:, None], numbers(0.04, 0.01).view(2, 1, 1))


def fine(teacher, x_t, t):
    """Where the flow through x_t at t ends, by 200 steps of DPM-Solver++(2M)."""
    schedule = PROCESS.schedule
    start = schedule.at(t).log_snr
    log_snr = torch.linspace(start, max(12.0, start + 2.0), 200, dtype=torch.float64)
    times = (t, *schedule.time(log_snr[1:]).tolist(), 0.0)
    return solution(student(), teacher, x_t, times, seeded(), None)[-1]


class EndsOf(FlowMap):
    """Ends where the flow does, by a fine solution of it."""

    def __init__(self, teacher):
        super().__init__(nn.Identity(), PROCESS, V(), LevelAlone())
        self.teacher = teacher

    def forward(self, x_t, t, conditions=None, s=None):
        ends = torch.empty_like(x_t)
        for time in t.unique():
            ends[t == time] = fine(self.teacher, x_t[t == time], float(time))
        return ends


def test_on_a_mixture_too_neighbours_end_at_the_same_point():
    """Of the mixture's flow by a fine solver: distillation on a fine grid costs nothing, and less than on a coarse."""
    exact = mixture()
    teacher = Teacher(lambda x_t, t, conditions=None: exact(x_t, t), PROCESS, nn.Identity())
    ends = EndsOf(teacher)
    ends.adopt = lambda other: None
    x_0 = numbers(-1.0, 0.8, 0.75, 0.9)[:, None].repeat(3, 1)
    costs = [
        float(ConsistencyDistillation(count, Squared()).begin(ends, teacher, 1)(ends, x_0, seeded()).mean())
        for count in (10, 160)
    ]
    assert costs[1] < 1e-4 and costs[1] < 0.05 * costs[0]


@pytest.mark.parametrize("count", [5, 20])
def test_on_a_grid_consistency_training_ends_where_euler_does(count):
    """Its fixed point on N(0, s^2), x = x_0 + sigma z: a step from t to r multiplies by (s^2 + rt)/(s^2 + t^2).

    Least squares of the loss itself: with X at s on the fixed point, the best multiple of x at t is the next one.
    """
    schedule = PROCESS.schedule
    times = levels(schedule, count)
    sigmas = [*(-0.5 * schedule.at(times[:-1]).log_snr).exp().tolist(), 0.0]
    factor = {0.0: 1.0}
    for (t, sigma), (s, below) in pairwise(reversed(list(zip(times.tolist(), sigmas, strict=True)))):
        factor[s] = factor[t] * (STD**2 + sigma * below) / (STD**2 + below**2)
    k = count // 2

    class Multiples(FlowMap):
        def forward(self, x_t, t, conditions=None, s=None):
            alpha = schedule.at(t).alpha[:, None]
            scale = torch.tensor([factor[float(one)] for one in t])[:, None]
            return (scale + self.change * (t == times[k])[:, None]) * x_t / alpha

    flow_map = Multiples(nn.Identity(), PROCESS, V(), LevelAlone())
    x_0, at = (data(40_000) - MEAN), torch.ones(40_000, dtype=torch.int64)
    cost = {}
    for change in (-0.1, 0.0, 0.1):
        flow_map.change = change
        cost[change] = float(apart(flow_map, x_0, times[k * at], times[(k + 1) * at], seeded(), None).mean())
    least = 0.1 * (cost[-0.1] - cost[0.1]) / 2 / (cost[-0.1] + cost[0.1] - 2 * cost[0.0])  # a parabola's lowest point
    assert abs(least) < 0.01 * factor[times.tolist()[k]] + 0.002


def test_the_flow_s_end_has_no_tangent():
    """Of sCM, at the exact F and v; it is linear in v's error, so the data's own v is right on average."""
    t, w = numbers(0.1, 0.4, 0.7, 0.9), numbers(-0.5, 0.3, 1.2, 0.8)[:, None]
    v = velocity(PROCESS.schedule, w, mean_of_gaussian(w, t), t)
    flow_map = student()
    assert tangent(flow_map, w, v, t, None).abs().max() < 1e-9
    assert tangent(flow_map, w, v + 0.3, t, None).abs().min() > 1e-3
    half = [tangent(flow_map, w, v + error, t, None) for error in (0.3, -0.3)]
    torch.testing.assert_close(half[0], -half[1], rtol=1e-9, atol=1e-9)


def test_the_tangent_is_that_of_finite_differences():
    """g = cos phi df/dphi: of an F that is wrong, moved along its own flow."""
    flow_map, phi = student(), numbers(0.3, 0.8, 1.2)
    flow_map.net.wrong.data.fill_(0.5)
    t = PROCESS.schedule.time(-2 * phi.tan().log())
    w, v = numbers(0.4, -0.3, 0.9)[:, None], numbers(0.2, 0.5, -0.7)[:, None]

    def ends(h):
        later = PROCESS.schedule.time(-2 * (phi + h).tan().log())
        return flow_map(w + h * v, later)

    rate = (ends(1e-4) - ends(-1e-4)) / 2e-4
    torch.testing.assert_close(
        tangent(flow_map, w, v, t, None), (phi.cos()[:, None] * rate).detach(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("stage", [0, 2])
def test_progressive_distillation_asks_for_two_steps_of_the_teacher(stage):
    """At DDIM's own two steps the loss is 0, in every stage of the halving; one step of the teacher costs something."""
    schedule, method = PROCESS.schedule, ProgressiveDistillation(1, 16)

    class Steps(FlowMap):
        def forward(self, x_t, t, conditions=None, s=None):
            times = torch.tensor(angle_uniform(schedule, self.count), dtype=torch.float64)
            i = (times[:, None] - t).abs().argmin(0)
            here, x = t, x_t
            for k in range(1, self.through + 1):
                then = times[i + k]
                x, here = landing(schedule, x, mean_of_gaussian(x, here), here, then), then
            return aim(schedule, x_t, x, t, here)

    flow_map = Steps(nn.Identity(), PROCESS, V(), LevelAlone())
    flow_map.adopt, flow_map.count, flow_map.through = lambda other: None, 2 * method.first, 2 * 2**stage
    loss = method.begin(flow_map, TEACHER, 100)
    loss.before.through, loss.before.count = 2**stage, 2 * method.first
    loss.count.done.fill_(100 * stage // 5 + 1)
    assert loss(flow_map, data(256), seeded()).max() < 1e-12
    flow_map.through = 1
    assert loss(flow_map, data(256), seeded()).mean() > 1e-6


def test_easy_tuning_begins_as_diffusion_and_ends_as_consistency():
    method, sigma = EasyConsistencyTuning(), numbers(0.01, 0.5, 80.0)
    assert (method.nearer(sigma, 0)[:2] == 0).all()
    gaps = torch.stack([1 - method.nearer(sigma, stage) / sigma for stage in range(8)])
    assert (gaps.diff(dim=0) <= 0).all() and (gaps[-1] < 0.02).all()


def test_grids_grow_as_the_papers_say():
    assert [ConsistencyTraining().levels(share) for share in (0.0, 1.0)] == [2, 150]
    assert [ImprovedConsistencyTraining().levels(k / 8) for k in range(9)] == [10 * 2**k for k in range(8)] + [1280]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_spoken_of_and_counts_what_it_asks(name):
    method = method_of(name)
    assert method.samplers and method.for_evaluations(2).most in (None, 2)
    assert (method.asked[0] > 0) == method.taught
