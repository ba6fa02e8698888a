"""MeanFlow: its loss is least where the network says the mean velocity, of a Gaussian, a mixture, a straight flow."""

import pytest
import torch
from exact_jumps import MEAN, STD, Jumps, draw, jumps, teacher
from stand_ins import name, numbers, seeded

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.core.errors import UserError
from undiffuse.loss.mean_flow import ImprovedMeanFlow, MeanFlow, MeanFlowDistillation, Motion
from undiffuse.loss.straight import STRAIGHT, last, mean_velocity, moved, toward
from undiffuse.loss.time import Uniform
from undiffuse.process import EDM, Cosine, Flow

PLAIN = MeanFlow(time=Uniform(), power=0.0, jumps=0.5)
SCHEDULES = [Flow(), Cosine(), EDM()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
def test_the_mean_velocity_of_a_gaussian_at_the_noise(schedule):
    """At t = 1 and s = 0, u = (1 - std) z - mean."""
    z, t = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None], numbers(last(schedule)).expand(9)
    expected = (1 - STD) * z - MEAN
    assert torch.allclose(mean_velocity(jumps(schedule), z, t, 0 * t), expected, atol=3e-4 + 3 * (1 - last(schedule)))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
def test_a_taught_loss_is_zero_at_the_mean_velocity_of_a_gaussian(schedule):
    method = MeanFlowDistillation(Uniform(), power=0.0, jumps=0.5)
    for student, least, most in [(jumps(schedule), 0, 1e-6), (jumps(schedule, shift=0.1), 1e-3, 1e9)]:
        loss = method.begin(student, teacher(schedule), 1)(student, draw(64), seeded())
        assert least <= loss.mean() <= most


@pytest.mark.parametrize("cls", [MeanFlow, ImprovedMeanFlow])
def test_from_data_the_gradient_is_zero_at_the_mean_velocity_of_a_gaussian(cls):
    method = cls(Uniform(start=0.1), power=0.0, jumps=0.9)

    def pulls(**wrong):
        found = []
        for seed in range(8):
            student = jumps(**wrong)
            method.begin(student, None, 1)(student, draw(4_000), seeded(seed)).mean().backward()
            found.append(torch.stack([student.gain.grad, student.shift.grad]))
        return torch.stack(found)

    right = pulls()
    error = right.std(0) / 8**0.5
    assert (right.mean(0).abs() < 4 * error).all()
    assert (pulls(shift=0.1).mean(0).abs() > 8 * error).any()


def test_the_targets_variance_is_that_of_the_velocity_alone_along_the_own_tangent():
    """Of v given z_t: std^2/S_t^2; along v itself the target has std^2 S_s^2/S_t^4, S_t^2 the variance of z_t."""
    count, t, s = 20_000, 0.8, 0.1
    z_t = torch.full((count, 1), 0.3, dtype=torch.float64)
    spread_t, spread_s = ((1 - t) ** 2 * STD**2 + t**2, (1 - s) ** 2 * STD**2 + s**2)
    noise = torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = MEAN + (1 - t) * STD**2 / spread_t * (0.3 - (1 - t) * MEAN)
    x_0 = mean + STD * t / spread_t**0.5 * noise  # given z_t
    v = (z_t - x_0) / t
    for cls, expected in [(ImprovedMeanFlow, STD**2 / spread_t), (MeanFlow, STD**2 * spread_s / spread_t**2)]:
        times = (numbers(t).repeat(count), numbers(s).repeat(count))
        target = cls(jumps=1.0).target(jumps(), Motion(z_t, times[0], v, None), times[1])
        assert target.var().item() == pytest.approx(expected, rel=0.04)
        assert target.mean().item() == pytest.approx(
            mean_velocity(jumps(), z_t[:1], *(x[:1] for x in times)).item(), abs=0.03
        )


def mixture(z, t):
    """E[x_0 | z_t] on the straight schedule, of half N(-1, .1) and half N(1, .1)."""
    t = t[:, None]
    variance = (1 - t) ** 2 * 0.1 + t**2
    right = torch.sigmoid(2 * (1 - t) * z / variance)
    means = [m + (1 - t) * 0.1 / variance * (z - (1 - t) * m) for m in (-1, 1)]
    return (1 - right) * means[0] + right * means[1]


def fine(z, t, s, steps=40):
    """Where the mixture's flow passes at s: Runge-Kutta's rule of order 4."""
    h = (s - t) / steps
    for _ in range(steps):
        k1 = toward(mixture(z, t), z, t)
        k2 = toward(mixture(z + 0.5 * h[:, None] * k1, t + h / 2), z + 0.5 * h[:, None] * k1, t + h / 2)
        k3 = toward(mixture(z + 0.5 * h[:, None] * k2, t + h / 2), z + 0.5 * h[:, None] * k2, t + h / 2)
        last = z + h[:, None] * k3
        k4 = toward(mixture(last, t + h), last, t + h)
        z, t = z + h[:, None] / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
    return z


@pytest.mark.parametrize("cls", [MeanFlow, ImprovedMeanFlow])
def test_the_identity_holds_for_a_mixtures_flow(cls):
    """The derivative along the flow is taken through forty steps of a solver."""
    student = Jumps(fine, mixture, STRAIGHT)
    t, s = numbers(0.9, 0.9, 0.7, 0.5), numbers(0.1, 0.5, 0.05, 0.3)
    z = numbers(-1.0, 0.1, 0.4, 1.2)[:, None]
    target = cls(jumps=1.0).target(student, Motion(z, t, toward(mixture(z, t), z, t), None), s)
    u = mean_velocity(student, z, t, s)
    assert torch.allclose(target, u, atol=1e-5)
    assert torch.allclose(moved(z, u, t, s), fine(z, t, s), atol=1e-12)


def test_a_head_says_the_velocity_in_place_of_the_student():
    """A student that is wrong where s = t has the right target for its jumps; without a head it has not."""
    student = jumps()
    wrong = Jumps(student.flow, lambda z, t: student.denoise(z, t) + 0.5, STRAIGHT)
    t, s = numbers(0.9, 0.7, 0.5), numbers(0.1, 0.0, 0.3)
    at = Motion(numbers(-1.0, 0.4, 1.2)[:, None], t, torch.zeros(3, 1).double(), None)
    method = ImprovedMeanFlow(jumps=1.0)
    assert torch.allclose(method.target(wrong, at, s, head=student), method.target(student, at, s))
    assert not torch.allclose(method.target(wrong, at, s), method.target(student, at, s), atol=1e-2)


def test_a_head_learns_the_velocity():
    """Its gradient is zero at the velocity of the flow, and only there; the student's does not reach it."""
    method = ImprovedMeanFlow(Uniform(start=0.1), power=0.0, head=True)

    def pull(shift):
        found = []
        for seed in range(8):
            begun = method.begin(jumps(shift=shift), None, 1)
            begun(jumps(), draw(4_000), seeded(seed)).mean().backward()
            found.append(begun.says.shift.grad)
        return torch.stack(found)

    right = pull(0.0)
    error = right.std() / 8**0.5
    assert right.mean().abs() < 4 * error
    assert pull(0.1).mean().abs() > 8 * error


def test_of_a_straight_flow_one_jump_is_exact():
    """Data at a point: v is the same all along the way, and the loss is zero, from scratch too."""
    student = jumps(mean=0.3, std=1e-6)
    loss = PLAIN.begin(student, None, 1)(student, torch.full((64, 1), 0.3, dtype=torch.float64), seeded())
    assert loss.max() < 1e-8


def test_shares_of_jumps_and_ends():
    t, s = MeanFlow(jumps=0.25, ends=0.5).times(4000, seeded(), Cosine())
    jumping = s < t
    assert jumping[:1000].all() and not jumping[1000:].any()
    assert (t[1000:] == last(Cosine())).double().mean().item() == pytest.approx(0.5, abs=0.04)
    at_noise, at_data = t[:1000] == last(Cosine()), s[:1000] == 0
    assert at_noise.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert at_data.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert (at_noise & at_data).double().mean().item() == pytest.approx(0.25, abs=0.06)


def test_guidance_inside_is_the_guided_field():
    """A network that says the guided velocity w c + (1 - w) free, w = omega/(1 - kappa), is asked for just that."""

    class Says(torch.nn.Module):
        process = jumps().process

        def forward(self, x_t, t, conditions=None, s=0.0):
            given = conditions.entries["a"].present.double()[:, None]
            v = given * (2.5 * 3.0 - 1.5 * 1.0) + (1 - given) * 1.0
            return x_t - v * t[:, None]

    present = torch.tensor([True, True, False, True])
    conditions = Conditions({"a": Entry(torch.zeros(4), present)})
    v = torch.where(present, 3.0, 1.0).double()[:, None]
    t = numbers(0.5, 0.6, 0.7, 0.8)
    for method in [
        MeanFlow(omega=2.5),
        MeanFlow(kappa=0.6),
        MeanFlow(omega=2.0, kappa=0.2),
        ImprovedMeanFlow(scale=2.5),
    ]:
        target = method.velocity(Says(), None, Motion(torch.ones(4, 1).double(), t, v, conditions))
        assert torch.allclose(target, torch.where(present, 6.0, 1.0).double()[:, None])


def test_what_makes_no_sense_is_refused():
    for wrong in [{"jumps": 0.0}, {"ends": 1.5}, {"power": -1.0}, {"c": 0.0}, {"kappa": 1.0}, {"omega": 0.0}]:
        with pytest.raises(UserError):
            MeanFlow(**wrong)
    with pytest.raises(UserError):
        ImprovedMeanFlow(scale=0.5)
    with pytest.raises(UserError, match="needs a teacher"):
        MeanFlowDistillation().begin(jumps(), None, 1)
