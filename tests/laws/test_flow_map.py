"""A jump along the flow is DDIM's line, aimed at where it lands."""

import math

import pytest
import torch

from undiffuse.condition.encoder import Encoder
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.flow_map import FlowMap, landing
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import X0, Eps, V, to_velocity
from undiffuse.loss.few_step import Teacher, velocity
from undiffuse.net import MLP, DiT, SpaceToDepth, UNet
from undiffuse.process import EDM, Affine, Cosine, Flow
from undiffuse.sampling.grid import angle_uniform
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.consistency import Consistency
from undiffuse.step.jump import Jump

MEAN, STD = 0.7, 0.4  # of the data


def exact(process):
    """X of N(MEAN, STD^2): what a jump from t to s aims at, since x_t - alpha m scales with the spread of x_t."""

    def aim(x_t, t, conditions=None, s=0.0):
        now, then = process.schedule.at(t), process.schedule.at(s)
        spread = math.hypot(then.alpha * STD, then.sigma) / math.hypot(now.alpha * STD, now.sigma)
        x_s = then.alpha * MEAN + spread * (x_t - now.alpha * MEAN)
        r = then.sigma / now.sigma
        return (x_s - r * x_t) / (then.alpha - r * now.alpha)

    return aim


@pytest.mark.parametrize("schedule", [Cosine(), Flow(), EDM()], ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("step", [Jump, Consistency])
def test_exact_jumps_draw_the_data_in_any_number_of_steps(schedule, count, step):
    process, like = Affine(schedule), torch.empty(40_000, 1)
    times = angle_uniform(schedule, count)
    noise = SeededNoise(0)
    x = process.corrupt(MEAN + STD * torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1)), 1.0, noise)
    x = last(trajectory(step(process), exact(process), x.to(like), times, noise))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01) and x.std().item() == pytest.approx(STD, rel=0.015)


def test_the_jump_composes():
    process, x = Affine(Cosine()), torch.linspace(-2, 2, 9)[:, None]
    aim = exact(process)
    half = landing(process.schedule, x, aim(x, 0.9, s=0.5), 0.9, 0.5)
    there = landing(process.schedule, half, aim(half, 0.5, s=0.2), 0.5, 0.2)
    assert torch.allclose(there, landing(process.schedule, x, aim(x, 0.9, s=0.2), 0.9, 0.2), atol=1e-6)


def test_on_the_straight_schedule_the_aim_is_the_mean_velocity():
    """Of N(m, s^2): u = (z_t - z_r)/(t - r), at (1, 0) (1 - s) z - m."""
    process, z = Affine(Flow()), torch.linspace(-2, 2, 9)[:, None]
    u = z - exact(process)(z, 1.0, s=0.0)
    assert torch.allclose(u, (1 - STD) * z - MEAN, atol=1e-6)


def test_velocity_is_the_derivative_along_the_flow_in_the_angle():
    schedule, t = Cosine(), torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    x_t, x_0 = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    angle_rate = torch.func.jvp(
        lambda t: torch.atan(torch.exp(-0.5 * schedule.log_snr(t))), (t,), (torch.ones(3).double(),)
    )[1]
    assert torch.allclose(velocity(schedule, x_t, x_0, t) * angle_rate[:, None], to_velocity(schedule, x_t, x_0, t))


def flow_map(second, schedule=None, width=16):
    encoder = Encoder({}, 16, second=second)
    net = MLP(width=width, depth=1).build((2,), encoder.widths, 1)
    return FlowMap(net, Affine(schedule or Cosine()), V(), encoder)


class Told(torch.nn.Module):
    """A network and its encoder, which remember what they are given; what is said is 1."""

    def __init__(self, second):
        super().__init__()
        self.second = torch.nn.Identity() if second else None

    def forward(self, *given):
        self.given = given
        return torch.ones_like(given[0])


@pytest.mark.parametrize("schedule", [Cosine(), EDM(0.002, 800.0)])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("t", "s"), [(0.6, 0.2), (0.6, None), (1.0, 0.0)])
def test_it_is_told_both_noise_levels_and_its_jump_is_aimed_at_what_it_says(schedule, second, t, s):
    """x is scaled to unit variance; at more noise than 80 times the data every level is the same."""
    net, encoder, process = Told(second), Told(second), Affine(schedule)
    x, map_ = torch.randn(5, 2, dtype=torch.float64), FlowMap(net, process, X0(), encoder)
    end = 0.0 if s is None else s
    torch.testing.assert_close(map_.jump(x, t, end), landing(schedule, x, torch.ones_like(x), t, end))
    torch.testing.assert_close(map_(x, t, s=s), torch.ones_like(x))
    torch.testing.assert_close(net.given[0], process.input_scale(t) * x)
    level, conditions, where = encoder.given
    assert level == pytest.approx(max(schedule.at(t).log_snr, -2 * math.log(80))) and conditions is None
    assert (where == min(schedule.at(end).log_snr, 20.0)) if second else (where is None)
    assert map_.is_told_where is second and map_.jumps == ("consistency", "jump")


def test_weights_of_another_shape_are_left_as_they_were():
    torch.manual_seed(0)
    small, large = flow_map(False), flow_map(False, width=24)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    small.adopt(large)
    alike = {name for name, value in large.state_dict().items() if value.shape == before[name].shape}
    assert 0 < len(alike) < len(before)
    for name, value in small.state_dict().items():
        assert torch.equal(value, large.state_dict()[name] if name in alike else before[name])


@pytest.mark.parametrize("net", [MLP(width=16, depth=1), UNet(width=8), SpaceToDepth(UNet(width=8)), DiT(width=24)])
def test_of_a_learned_variance_a_student_takes_the_mean(net):
    """The last layer of every network says the mean first, then the variance."""
    torch.manual_seed(0)
    shape, encoder = ((2,) if isinstance(net, MLP) else (1, 4, 4)), Encoder({}, net.vector)
    teacher = Denoiser(net.build(shape, encoder.widths, 2), Affine(Cosine()), V(), True, encoder)
    for name, value in teacher.named_parameters():
        if "head" in name:
            torch.nn.init.normal_(value)
    student = FlowMap(net.build(shape, encoder.widths), Affine(Cosine()), V(), Encoder({}, net.vector))
    student.adopt(teacher)
    x = torch.randn(3, *shape)
    torch.testing.assert_close(student(x, 0.6), teacher(x, 0.6), atol=1e-5, rtol=1e-5)
    assert (teacher.output(x, 0.6).v - 0.5).abs().max() > 0.1


def test_a_student_that_predicts_something_else_begins_its_last_layer_anew():
    """A last layer that says the noise would say nothing of v: at zero it says the mean of what is least known."""
    torch.manual_seed(0)
    teacher, student = flow_map(False), flow_map(False)
    torch.nn.init.normal_(teacher.net.head.weight)
    teacher.prediction = Eps()
    student.adopt(teacher)
    assert torch.equal(student.net.stem.weight, teacher.net.stem.weight)
    assert not student.net.head.weight.any() and teacher.net.head.weight.any()
    teacher.prediction = V()
    student.adopt(teacher)
    assert torch.equal(student.net.head.weight, teacher.net.head.weight)


def test_without_noise_the_flow_map_is_the_identity():
    x = torch.randn(5, 2)
    assert torch.allclose(flow_map(False)(x, 1e-9), x, atol=1e-6)


def test_a_student_begins_as_its_teacher_wherever_it_jumps():
    torch.manual_seed(0)
    teacher, student = flow_map(False), flow_map(True)
    student.adopt(teacher)
    x = torch.randn(5, 2)
    for s in (0.0, 0.3, None):
        assert torch.equal(student(x, 0.6, s=s), teacher(x, 0.6))


@pytest.mark.parametrize("schedule", [Flow(), EDM()], ids=lambda schedule: type(schedule).__name__)
def test_a_teacher_answers_on_any_schedule(schedule):
    """E[x_0 | x_t] of x_t scaled from another schedule is that of its own at the same log-SNR."""
    own = Affine(Cosine())

    def mean(x_t, t, conditions=None):  # of N(MEAN, STD^2)
        alpha, sigma, _ = own.schedule.at(t)
        alpha, sigma = alpha.float()[:, None], sigma.float()[:, None]
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x_t - alpha * MEAN)

    t, x = torch.tensor([0.3, 0.6], dtype=torch.float64), torch.randn(2, 1)
    alpha, sigma, _ = (value.float()[:, None] for value in schedule.at(t))
    expected = MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)
    assert torch.allclose(Teacher(mean, own, torch.nn.Identity())(schedule, x, t), expected, atol=1e-5)
