"""Linear inverse problems: operators have their adjoints, and on Gaussians guides have the exact posterior."""

import math

import pytest
import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.core.operator import Averaged, Blurred, Brightness, Masked, OfScaled, conjugate_gradients
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.reconstruction import Even, Isotropic, Matched, Reconstruction
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.exact.observed import observed
from undiffuse.process import EDM, VP, Affine, Belief, Cosine, Flow, Linear, PoissonNoise
from undiffuse.sampling.grid import angle_uniform
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM
from undiffuse.step.pull import Pulled
from undiffuse.step.repaint import Repainted

SCHEDULES = {"cosine": Cosine(), "VP": VP(), "EDM": EDM(), "flow": Flow(), "table": Linear()}
SHAPE = (3, 4, 4)
GENERATOR = torch.Generator().manual_seed(0)
KNOWN = torch.rand(SHAPE, generator=GENERATOR) < 0.5
OPERATORS = {
    "mask": Masked(KNOWN),
    "fewer pixels": Averaged(2),
    "brightness": Brightness(),
    "blur": Blurred(0.8),
    "scaled": OfScaled(Averaged(2), torch.tensor([0.5, 1.0, 2.0])[:, None, None].double()),
}


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def matrix(operator) -> Tensor:
    """The operator on flat data of SHAPE, (seen, size)."""
    size = math.prod(SHAPE)
    return operator(torch.eye(size).double().view(size, *SHAPE)).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_linear_and_has_its_adjoint(name):
    operator = OPERATORS[name]
    x, other = draw(2, *SHAPE), draw(2, *SHAPE)
    y = torch.randn(operator(x).shape, generator=GENERATOR, dtype=torch.float64)
    torch.testing.assert_close((operator(x) * y).sum(), (x * operator.adjoint(y)).sum())
    torch.testing.assert_close(operator(2 * x - 3 * other), 2 * operator(x) - 3 * operator(other))


def test_what_is_seen_is_what_it_says():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert Averaged(2)(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert Brightness()(torch.ones(1, 3, 2, 2)).unique().item() == pytest.approx(1)
    assert Blurred(0.5)(torch.ones(1, 2, 9, 9))[0, :, 4, 4].tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(OPERATORS["mask"](draw(1, *SHAPE))[0] != 0, KNOWN)


@pytest.mark.parametrize("eigenvalues", [1, 2, 5])
def test_conjugate_gradients_take_an_iteration_for_every_eigenvalue(eigenvalues):
    values = (torch.arange(12) % eigenvalues + 1).double()
    axes, _ = torch.linalg.qr(draw(12, 12))
    m, b = axes @ (values[:, None] * axes.T), draw(3, 12)
    u = conjugate_gradients(lambda v: v @ m, b, eigenvalues)
    torch.testing.assert_close(u @ m, b)
    torch.testing.assert_close(conjugate_gradients(lambda v: v @ m, b, 20), u)  # solved, and stays so
    assert eigenvalues == 1 or (conjugate_gradients(lambda v: v @ m, b, eigenvalues - 1) @ m - b).abs().max() > 1e-3
    assert not conjugate_gradients(lambda v: v @ m, 0 * b, 5).any()


# --------------------------------------------------------------------------------------- on Gaussians, exactly


def wide(schedule, variance=None) -> Gaussian:
    size = math.prod(SHAPE)
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / size**0.5
    covariance = root @ root.T + 0.1 * torch.eye(size) if variance is None else variance * torch.eye(size)
    return Gaussian(Affine(schedule), torch.linspace(-1, 1, size).double().view(SHAPE), covariance.double())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPERATORS)
def test_matched_moments_are_the_exact_posterior_of_any_gaussian(name, schedule):
    exact, operator = wide(SCHEDULES[schedule]), OPERATORS[name]
    y, x_t = operator(exact.sample(1, SeededNoise(5))), draw(4, *SHAPE)
    given = observed(exact, matrix(operator), y.flatten(), 0.3)
    for t in (0.15, 0.5, 0.8):
        guided = Reconstruction(exact, exact.process, operator, y, 0.3, Matched(), 48)
        torch.testing.assert_close(guided(x_t, t), given(x_t, t), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mask", "fewer pixels", "brightness"])
def test_an_isotropic_covariance_is_exact_for_standard_normal_data_in_one_iteration(name):
    exact, operator = wide(VP(), 1.0), OPERATORS[name]
    y, x_t = operator(exact.sample(1, SeededNoise(5))), draw(4, *SHAPE)
    given = observed(exact, matrix(operator), y.flatten(), 0.3)
    guided = Reconstruction(exact, exact.process, operator, y, 0.3, Isotropic())
    torch.testing.assert_close(guided(x_t, 0.4), given(x_t, 0.4), rtol=1e-6, atol=1e-6)
    wider = Affine(VP(), sigma_data=2.0)
    other = Gaussian(wider, exact.means[0], 4 * torch.eye(math.prod(SHAPE)).double())
    given = observed(other, matrix(operator), y.flatten(), 0.3)
    guided = Reconstruction(other, wider, operator, y, 0.3, Isotropic())
    torch.testing.assert_close(guided(x_t, 0.4), given(x_t, 0.4), rtol=1e-6, atol=1e-6)


def test_reconstruction_guidance_is_a_step_down_the_square():
    """D - w alpha/2 grad |y - A D|^2 of Ho et al., for an exact observation."""
    exact, operator = wide(Cosine()), OPERATORS["fewer pixels"]
    y, x_t, w, t = operator(exact.sample(1, SeededNoise(5))), draw(4, *SHAPE), 1.7, 0.4
    guided = Reconstruction(exact, exact.process, operator, y, 0.0, Even(w))(x_t, t)
    x = x_t.clone().requires_grad_()
    square = (y - operator(exact(x, t))).square().sum()
    expected = exact(x_t, t) - w * exact.process.schedule.at(t).alpha / 2 * torch.autograd.grad(square, x)[0]
    torch.testing.assert_close(guided, expected)


def test_a_belief_keeps_its_variance_and_pure_noise_its_answer():
    exact, operator = wide(Flow()), OPERATORS["mask"]
    y, x_t = operator(draw(1, *SHAPE)), draw(2, *SHAPE)
    believed = Reconstruction(lambda *a: Belief(exact(*a), 0.3), exact.process, operator, y, 0.1, Isotropic())
    plain = Reconstruction(exact, exact.process, operator, y, 0.1, Isotropic())
    assert believed(x_t, 0.5).v == 0.3 and torch.equal(believed(x_t, 0.5).mean, plain(x_t, 0.5))
    assert not plain(x_t, 0.5).requires_grad
    assert torch.equal(plain(x_t, 1.0), exact(x_t, 1.0))


def test_above_the_highest_noise_level_nothing_is_guided():
    exact, operator = wide(Cosine()), OPERATORS["mask"]
    y, x_t = operator(draw(1, *SHAPE)), draw(2, *SHAPE)
    guided = Reconstruction(exact, exact.process, operator, y, 0.1, Isotropic(), highest=4.0)
    for level, same in ((3.9, False), (4.1, True)):
        t = exact.process.time(level / (1 + level))
        assert torch.equal(guided(x_t, t), exact(x_t, t)) == same


PLANE = torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
FIRST = torch.tensor([True, False])
X_0 = torch.tensor([[1.5, 0.0]]).double()


def second(step, denoise, count=6000, steps=60, schedule=None) -> Tensor:
    """Draws of the second number, given that the first is 1.5."""
    process = Affine(schedule or Cosine())
    like, noise, times = X_0.expand(count, 2), SeededNoise(0), angle_uniform(process.schedule, steps)
    return last(trajectory(step, denoise, process.start(like, noise, times[0]), times, noise))


def plane() -> Gaussian:
    return Gaussian(Affine(Cosine()), torch.zeros(2).double(), PLANE)


@pytest.mark.parametrize("step", [DDIM, Ancestral])
def test_guided_samples_are_of_the_posterior(step):
    exact = plane()
    guided = Reconstruction(exact, exact.process, Masked(FIRST), Masked(FIRST)(X_0), 1e-3, Matched(), 2)
    x = second(step(exact.process), guided, 3000, 150)
    torch.testing.assert_close(x.mean(0), torch.tensor([1.5, 1.2]).double(), atol=0.03, rtol=0)
    assert float(x[:, 1].std()) == pytest.approx(0.6, rel=0.04) and x[:, 0].std() < 0.02


def test_repainted_samples_approach_the_posterior_where_replaced_ones_do_not():
    """In the mean, which is 1.2; what ancestral steps lack of the spread, they lack in every round."""
    exact = plane()
    mean = lambda step, denoise: float(second(step, denoise, 3000, 30)[:, 1].mean())  # noqa: E731
    plain = Ancestral(exact.process)
    replaced = mean(plain, Known(exact, exact.process, X_0, FIRST))
    repainted = [mean(Repainted(plain, exact.process, X_0, FIRST, rounds), exact) for rounds in (1, 5, 20)]
    assert abs(replaced - 1.2) > 0.4
    assert [abs(one - 1.2) < least for one, least in zip(repainted, (0.7, 0.15, 0.08), strict=True)] == [True] * 3
    assert repainted[0] < repainted[1] < repainted[2]


def test_further_noise_is_that_of_the_process():
    process, x_0 = Affine(VP()), draw(200_000, 1)
    x_s = process.corrupt(x_0, 0.3, SeededNoise(0))
    x_t = process.further(x_s, 0.3, 0.7, SeededNoise(1))
    alpha, sigma, _ = process.schedule.at(0.7)
    left = x_t - alpha * x_0
    assert float(left.std()) == pytest.approx(sigma, rel=0.01) and abs(float((left * x_0).mean())) < 0.01


def test_a_pulled_state_moves_by_zeta_down_the_distance():
    exact, operator = wide(Cosine()), OPERATORS["fewer pixels"]
    y, x_t = operator(draw(1, *SHAPE)), draw(3, *SHAPE)
    count = []

    def denoise(x, t):
        count.append(t)
        return exact(x, t)

    still, moved = (
        Pulled(DDIM(exact.process), operator, y, zeta)(denoise, x_t, 0.6, 0.4, None, SeededNoise(0))[0]
        for zeta in (0.0, 0.5)
    )
    x = x_t.clone().requires_grad_()
    distance = (y - operator(exact(x, 0.6))).flatten(1).norm(dim=1)
    torch.testing.assert_close(still - moved, 0.5 * torch.autograd.grad(distance.sum(), x)[0])
    torch.testing.assert_close(still, DDIM(exact.process)(exact, x_t, 0.6, 0.4, None, SeededNoise(0))[0])
    assert count == [0.6, 0.6]  # one evaluation each


def test_what_has_no_meaning_is_refused():
    process = Affine(Cosine())
    with pytest.raises(UserError, match="at least once"):
        Repainted(DDIM(process), process, X_0, FIRST, 0)
    with pytest.raises(UserError, match="zeta"):
        Pulled(DDIM(process), Masked(FIRST), X_0, -1.0)
    with pytest.raises(UserError, match="fresh noise"):
        Repainted(DDIM(process), Affine(EDM(), PoissonNoise(2)), X_0, FIRST)


def test_a_mixture_of_which_something_is_seen_is_bayes_rule():
    """Against the prior's own draws, weighed by how likely they make y."""
    means = torch.tensor([[1.0, 1.0], [-1.0, 0.5], [0.5, -1.0]]).double()
    prior = GaussianMixture.isotropic(Affine(Cosine()), means, 0.4)
    a, y, deviation = torch.tensor([[1.0, 0.5]]).double(), torch.tensor([0.6]).double(), 0.3
    x = prior.sample(400_000, SeededNoise(0))
    weight = torch.softmax(-0.5 * ((y - x @ a.T) / deviation).square().sum(1), 0)
    after = observed(prior, a, y, deviation).sample(400_000, SeededNoise(1))
    for moment in (lambda x: x, torch.square, torch.sin, lambda x: x[:, :1] * x[:, 1:]):
        torch.testing.assert_close((weight[:, None] * moment(x)).sum(0), moment(after).mean(0), atol=0.01, rtol=0)
