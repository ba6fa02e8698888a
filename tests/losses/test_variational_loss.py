"""The bounds for training equal the chain's, term by term, and the exact log-likelihood where they should."""

import math

import pytest
import torch
from stand_ins import PREDICTIONS, At, Says, Smooth, name, numbers, posterior_mean, seeded, wrong
from torch import nn

from undiffuse.core.errors import UserError
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import V
from undiffuse.loss.adaptive import Importance, LastLosses
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import Uniform
from undiffuse.loss.variational import ContinuousBound, Hybrid, VariationalBound, ends, step_kl
from undiffuse.process import EDM, VP, Affine, Belief, Cosine, Linear, LogLinear, PoissonNoise, Shifted
from undiffuse.process.learned import Learned

STD = 0.6
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * STD**2)  # E -log p(x_0), nats per entry


class Every(At):
    """All of 1/T, ..., 1, once each: the bound without chance."""

    def __init__(self, steps: int) -> None:
        object.__setattr__(self, "times", tuple(i / steps for i in range(1, steps + 1)))

    @property
    def steps(self):
        return len(self.times)


class WithVariance(Says):
    def forward(self, x, routes):
        y = super().forward(x, routes)
        return torch.cat([y, (3 * x).sin()], dim=1)


def data(count, size=2, seed=9):
    return STD * torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(process, prediction=None, std=STD):
    prediction = prediction or V()
    return Denoiser(Says(posterior_mean(std), process, prediction), process, prediction)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("schedule", [Cosine(), VP(), Linear(), LogLinear(), EDM()], ids=name)
@pytest.mark.parametrize("prediction", PREDICTIONS[:3], ids=name)
def test_the_sum_over_all_steps_is_the_chains_bound(schedule, prediction, learned):
    steps, process = 12, Affine(schedule)
    net = (WithVariance if learned else Says)(wrong, process, prediction)
    denoiser = Denoiser(net, process, prediction, learned_variance=learned)
    x_0 = data(1).expand(steps, 2)
    bound = VariationalBound(Every(steps))(denoiser, x_0, seeded()).mean()

    z, x, size = seeded().normal(x_0), x_0[:1], x_0.shape[1]
    brute = process.marginal(x, 1.0).kl(process.prior(x))
    for i in range(2, steps + 1):
        t, s = i / steps, (i - 1) / steps
        x_t = process.mix(x, z[i - 1 : i], t)
        brute += process.posterior(x_t, x, t, s).kl(process.posterior(x_t, denoiser.belief(x_t, t), t, s))
    decoder = process.decoder(x, x, 1 / steps)
    brute += size * (0.5 * (1 + math.log(2 * math.pi)) + math.log(decoder.std))  # its entropy
    torch.testing.assert_close(bound, brute[0] / size, rtol=1e-8, atol=1e-10)


def test_the_decoders_entropy_is_what_it_costs_on_average():
    process, x_0 = Affine(VP()), data(50_000)
    decoded = process.decoder(process.corrupt(x_0, 0.1, seeded()), x_0, 0.1).log_prob(x_0) / 2
    prior = process.marginal(x_0, 1.0).kl(process.prior(x_0)) / 2
    assert (ends(process, x_0, 0.1) - prior).mean() == pytest.approx(-float(decoded.mean()), abs=0.02)


@pytest.mark.parametrize("law", [Uniform(steps=20), Importance(bins=20, history=2, discrete=True).build()], ids=name)
def test_a_random_step_is_unbiased(law):
    denoiser, x_0 = exact(Affine(VP()), std=2 * STD), data(1).expand(20_000, 2)
    if isinstance(law, LastLosses):
        law.losses += torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
        law.seen += 2
    every = VariationalBound(Every(20))(denoiser, x_0, seeded())
    losses = VariationalBound(law)(denoiser.eval(), x_0, seeded(1))
    error = float((losses.var() / len(losses) + every.var() / len(every)).sqrt())
    assert losses.mean() == pytest.approx(float(every.mean()), abs=4 * error)


class BestVariance(Says):
    """With the exact step's variance, which for Gaussian data makes the exact step."""

    def __init__(self, process, steps):
        super().__init__(posterior_mean(STD), process, V())
        self.steps = steps

    def forward(self, x, routes):
        t = self.process.schedule.time(routes.vector)
        v = best_v(self.process.schedule, t, (t - 1 / self.steps).clamp(min=1e-9))
        return torch.cat([super().forward(x, routes), (2 * v - 1)[:, None].expand_as(x)], dim=1)


def best_v(schedule, t, s):
    now, then = schedule.at(t), schedule.at(s)
    w = -torch.expm1(now.log_snr - then.log_snr)
    uncertain = 1 / (now.log_snr.exp() + 1 / STD**2)  # var(x_0 | x_t)
    excess = w * then.log_snr.exp() * uncertain  # over beta-tilde, as a share of it
    return torch.log1p(excess) / (2 * Affine(schedule).widening(t, s).log())


def test_the_bound_falls_to_the_log_likelihood_as_steps_grow():
    process, gaps = Affine(Cosine()), []
    for steps in (4, 16, 64):
        x_0 = data(20_000 // steps * steps)
        denoiser = Denoiser(BestVariance(process, steps), process, V(), learned_variance=True)
        losses = VariationalBound(Every(steps))(denoiser, x_0, seeded())
        truth = 0.5 * (x_0**2).mean(1) / STD**2 + 0.5 * math.log(2 * math.pi * STD**2)
        gaps.append(float((losses - truth).mean()))
    assert gaps == sorted(gaps, reverse=True) and -0.02 < gaps[-1] < 0.05, gaps


def test_the_best_variance_is_the_true_steps():
    """For Gaussian data the v that minimises a step's KL makes the step as uncertain as q(x_s | x_t) is."""
    process, t, s = Affine(VP()), numbers(0.5), numbers(0.45)
    now, then = process.schedule.at(t), process.schedule.at(s)
    v = best_v(process.schedule, t, s).requires_grad_()
    uncertain = 1 / (now.log_snr.exp() + 1 / STD**2)
    error = (uncertain.sqrt() / now.sigma)[None]  # of v, root mean square: x_0 errs by sigma times it
    kl = step_kl(exact(process), error, v[None], t, steps=20)
    kl.sum().backward()
    assert 0 < v < 1 and v.grad.abs() < 1e-12
    zero, w = torch.zeros(1, 1, dtype=torch.float64), -torch.expm1(now.log_snr - then.log_snr)
    step = process.posterior(zero, Belief(zero, v.detach()), 0.5, 0.45)
    truth = w * then.sigma**2 + (w * then.alpha) ** 2 * uncertain
    torch.testing.assert_close(step.std.flatten() ** 2, truth, rtol=1e-9, atol=0)


class Heads(nn.Module):
    """A mean and a variance, free at every sample."""

    def __init__(self):
        super().__init__()
        self.y = nn.Parameter(torch.full((4, 2), 0.1, dtype=torch.float64))
        self.v = nn.Parameter(torch.full((4, 2), 0.2, dtype=torch.float64))

    def forward(self, x, routes):
        return torch.cat([self.y, self.v], dim=1)


def test_the_hybrid_moves_the_mean_by_its_simple_part_alone():
    gradients = []
    law = At((0.25, 0.5, 0.75, 1.0))
    for loss in (Hybrid(Every(4)), Hybrid(Every(4), scale=5.0), Denoising(law)):
        net = Heads()
        denoiser = Denoiser(net, Affine(VP()), V(), learned_variance=True)
        loss(denoiser, data(4), seeded()).mean().backward()
        gradients.append((net.y.grad, net.v.grad))
    assert gradients[0][0].equal(gradients[1][0]) and gradients[0][0].equal(gradients[2][0])
    torch.testing.assert_close(gradients[1][1], 5000 * gradients[0][1])
    assert (gradients[0][1][1:] != 0).all() and (gradients[2][1] == 0).all()


def test_the_hybrids_second_part_is_the_bound_in_bits():
    denoiser = Denoiser(Heads(), Affine(VP()), V(), learned_variance=True)
    x_0 = data(4)
    simple = Hybrid(Every(4), scale=0.0)(denoiser, x_0, seeded())
    both = Hybrid(Every(4), scale=1.0)(denoiser, x_0, seeded())
    bound = VariationalBound(Every(4))(denoiser, x_0, seeded()) - ends(denoiser.process, x_0, 0.25)
    torch.testing.assert_close(both - simple, bound / math.log(2))


def continuous_bound(high, low):
    """Of data N(0, STD^2) by its exact denoiser, on average, in closed form."""
    alpha2 = 1 / (1 + math.exp(-low))
    prior = 0.5 * (alpha2 * (STD**2 - 1) - math.log(1 - alpha2))
    middle = 0.5 * (math.log1p(STD**2 * math.exp(high)) - math.log1p(STD**2 * math.exp(low)))
    return prior + middle + 0.5 * (1 + math.log(2 * math.pi)) - 0.5 * high


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=name)
def test_the_continuous_bound_meets_the_log_likelihood(prediction):
    assert continuous_bound(30.0, -20.0) == pytest.approx(ENTROPY, abs=1e-6)
    process, x_0 = Affine(Learned(4.0, -3.0).build()), data(10_000)
    losses = ContinuousBound()(exact(process, prediction), x_0, seeded()).detach()
    error = float(losses.std() / len(losses) ** 0.5)
    assert losses.mean() == pytest.approx(continuous_bound(4.0, -3.0), abs=4 * error) and error < 0.05


def bent(**ends):
    """A learned schedule whose interior has moved far from a line."""
    schedule = Learned(**ends).build()
    with torch.no_grad():
        schedule.log_height += torch.linspace(-3, 3, schedule.design.units)
    return schedule


def test_the_continuous_bound_depends_on_the_end_points_only():
    x_0 = data(10_000)
    straight, curved, other = (
        ContinuousBound()(exact(Affine(schedule)), x_0, seeded()).detach()
        for schedule in (
            Learned(5.0, -3.0).build(),
            bent(log_snr_max=5.0, log_snr_min=-3.0),
            Learned(1.0, -3.0).build(),
        )
    )
    error = float(((straight.var() + curved.var()) / len(x_0)) ** 0.5)
    assert curved.mean() == pytest.approx(float(straight.mean()), abs=4 * error)
    assert abs(other.mean() - straight.mean()) > 6 * error


def test_end_points_follow_the_bounds_gradient():
    """d/d max = -1/2 + 1/2 mse(max), and through the span the prior's and -1/2 mse(min), in closed form."""
    schedule = bent(log_snr_max=2.0, log_snr_min=-1.0, learn_ends=True)
    denoiser = Denoiser(Smooth(0.3), Affine(schedule), V())
    ContinuousBound()(denoiser, data(50_000, 1), seeded()).mean().backward()

    def mse(log_snr):  # of eps, by a denoiser that believes in std 0.3
        k = 0.09 / (0.09 * math.exp(log_snr) + 1)  # x_0_hat = k e^(l/2) (e^(l/2) x_0 + z)
        gain = k * math.exp(log_snr)
        return math.exp(log_snr) * ((1 - gain) ** 2 * STD**2 + gain**2 * math.exp(-log_snr))

    low = -1.0
    alpha2 = 1 / (1 + math.exp(-low))
    prior = 0.5 * (STD**2 - 1 + 1 / (1 - alpha2)) * alpha2 * (1 - alpha2)
    d_low = prior - 0.5 * mse(low)
    d_high = -0.5 + 0.5 * mse(2.0)
    assert float(schedule.high.grad) == pytest.approx(d_high + d_low, abs=0.01)
    assert float(schedule.log_span.grad) == pytest.approx(-3.0 * d_low, abs=0.02)


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_the_interior_follows_the_variance(shift):
    """Its gradient is that of the squared losses, at the same times and noise."""
    schedule, x_0 = bent(log_snr_max=4.0, log_snr_min=-4.0), data(64)
    process = Affine(Shifted(schedule, shift))
    before = ends(process, x_0, 1e-3).detach()

    denoiser = Denoiser(Smooth(0.3), process, V())

    def square():
        return ((ContinuousBound()(denoiser, x_0, seeded()).detach() - before) ** 2).mean()

    ContinuousBound()(denoiser, x_0, seeded()).mean().backward()
    for parameter, index in [(schedule.log_height, 40), (schedule.centre, 30), (schedule.log_sharpness, 50)]:
        gradient, h = parameter.grad[index], 1e-4
        with torch.no_grad():
            parameter[index] += h
            up = square()
            parameter[index] -= 2 * h
            down = square()
            parameter[index] += h
        torch.testing.assert_close(gradient, (up - down) / (2 * h), rtol=1e-4, atol=1e-9)


def test_what_has_no_bound_says_so():
    with pytest.raises(UserError, match="discrete times"):
        VariationalBound(Uniform())
    with pytest.raises(UserError, match="start above 0"):
        ContinuousBound(Uniform())
    with pytest.raises(UserError, match="add --learned-variance true"):
        Hybrid()(exact(Affine(VP())), data(2), seeded())
    for loss in (VariationalBound(), ContinuousBound()):
        with pytest.raises(UserError, match="only Gaussian noise"):
            loss(exact(Affine(VP(), PoissonNoise(8.0))), data(2), seeded())
    for loss in (VariationalBound(), Hybrid(), ContinuousBound()):  # before a training, too
        denoiser = exact(Affine(VP(), PoissonNoise(8.0)))
        denoiser.learned_variance = isinstance(loss, Hybrid)
        with pytest.raises(UserError, match="only Gaussian noise"):
            loss.check(denoiser)
