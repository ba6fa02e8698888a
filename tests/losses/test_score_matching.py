"""Three objectives, one minimiser: the score of what the samples came from."""

import pytest
import torch
from stand_ins import At, Smooth, name, numbers, seeded

from undiffuse.core.errors import UserError
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import V
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.draws import Stratified
from undiffuse.loss.score_matching import Implicit, ScoreMatching, Sliced, Smoothed, annealed
from undiffuse.loss.time import Uniform
from undiffuse.process import VP, Affine, PoissonNoise

SIZE = 3


class EveryAxis:
    """Directions whose mean of v v^T is exactly the identity: sqrt(SIZE) along each axis in turn."""

    def __init__(self):
        self.count = 0

    def normal(self, like):
        v = torch.zeros_like(like)
        v[:, self.count % SIZE] = SIZE**0.5
        self.count += 1
        return v


class Mirrored:
    """Standard normal numbers of zero mean and unit covariance exactly, uncorrelated with ``x`` (batch, SIZE)."""

    def __init__(self, x):
        self.x = x

    def normal(self, like):
        centred = torch.cat([torch.ones(len(self.x), 1).double(), self.x], 1)
        z = seeded(5).normal(like)
        z = z - centred @ torch.linalg.lstsq(centred, z).solution
        return z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / len(z))).T


def data(count=400):
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
    return torch.randn(count, SIZE, generator=generator, dtype=torch.float64) @ mix + 0.5


def moments(x):
    centred = x - x.mean(0)
    return x.mean(0), centred.T @ centred / len(x)


def gradients_at_the_score(objective, x, noise, covariance):
    """Of the mean objective, by a linear score's matrix and offset, at -covariance^-1 (x - mean)."""
    precision = torch.linalg.inv(covariance)
    matrix, offset = (-precision).requires_grad_(), (precision @ x.mean(0)).requires_grad_()
    objective(lambda y: y @ matrix.T + offset, x, noise).mean().backward()
    return matrix.grad, offset.grad


OBJECTIVES = [
    (Implicit(), lambda x: EveryAxis(), 0.0),
    (Sliced(SIZE), lambda x: EveryAxis(), 0.0),
    (Sliced(SIZE, reduced=False), lambda x: EveryAxis(), 0.0),
    (Smoothed(0.7), Mirrored, 0.7),
]


@pytest.mark.parametrize(
    "objective, noise, smoothing", OBJECTIVES, ids=["implicit", "sliced", "sliced-full", "smoothed"]
)
def test_the_minimiser_is_the_true_score(objective, noise, smoothing):
    """Among linear scores, on any samples: that of the Gaussian with their moments (and sigma^2 more if smoothed)."""
    x = data()
    covariance = moments(x)[1] + smoothing**2 * torch.eye(SIZE, dtype=torch.float64)
    for gradient in gradients_at_the_score(objective, x, noise(x), covariance):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)
    assert gradients_at_the_score(objective, x, noise(x), 1.3 * covariance)[0].abs().max() > 1e-3


def bend(x, k):
    return k * (x.sin() + 0.2 * x.roll(1, -1) ** 2)


def test_sliced_is_implicit_on_average_over_directions():
    exact = Implicit()(lambda x: bend(x, 1.5), data(20_000), seeded()).detach()
    for reduced in (True, False):
        sliced = Sliced(SIZE, reduced)(lambda x: bend(x, 1.5), data(), EveryAxis())
        torch.testing.assert_close(sliced, Implicit()(lambda x: bend(x, 1.5), data(), EveryAxis()))
        loose = Sliced(1, reduced)(lambda x: bend(x, 1.5), data(20_000), seeded()).detach()
        assert loose.mean() == pytest.approx(float(exact.mean()), abs=4 * float((loose - exact).std()) / 20_000**0.5)


def test_reduced_has_less_variance():
    one, two = (Sliced(1, reduced)(lambda x: bend(x, 1.5), data(5000), seeded()) for reduced in (True, False))
    exact = Implicit()(lambda x: bend(x, 1.5), data(5000), seeded())
    assert (one - exact).var() < 0.7 * (two - exact).var()


def test_denoising_is_implicit_of_the_smoothed_plus_a_constant():
    """E(Smoothed - Implicit at the noisy point) is the same number for every score (Vincent 2011)."""
    x, sigma = data(200_000), 0.8
    noisy = x + sigma * seeded().normal(x)
    differences = []
    for k in (-0.5, 0.0, 0.5):
        denoising = Smoothed(sigma)(lambda y, k=k: bend(y, k), x, seeded())
        differences.append(denoising - Implicit()(lambda y, k=k: bend(y, k), noisy, seeded()).detach())
    for other in differences[1:]:
        gap = other - differences[0]
        assert float(gap.mean()) == pytest.approx(0, abs=4 * float(gap.std()) / len(x) ** 0.5)


def test_annealed_weighs_all_levels_alike():
    """sigma^2 |s + z/sigma|^2 = |z_hat - z|^2: the score that is always -z_hat/sigma costs the same at each."""
    sigmas, seen = numbers(1, 0.1, 0.01), []

    def score(x, sigma):
        seen.append(sigma)
        return torch.zeros_like(x)

    losses = annealed(score, data(3000), sigmas, seeded())
    assert set(seen[0].tolist()) == set(sigmas.tolist())
    for sigma in sigmas:
        assert losses[seen[0] == sigma].mean() == pytest.approx(SIZE / 2, rel=0.1)


@pytest.mark.parametrize("objective", [Implicit(), Sliced()], ids=name)
def test_a_denoiser_learns_the_same_by_either(objective):
    """ScoreMatching - Denoising/2 does not depend on the denoiser: their gradients agree."""
    x_0 = 0.6 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    time = Uniform(start=0.3, draws=Stratified())
    gap = []
    for std in (0.4, 0.9):
        denoiser = Denoiser(Smooth(std), Affine(VP()), V())
        by_score = ScoreMatching(objective, time)(denoiser, x_0, seeded(1)).detach()
        gap.append(by_score - 0.5 * Denoising(time)(denoiser, x_0, seeded(1)).detach())
    error = float((gap[0] - gap[1]).std()) / len(x_0) ** 0.5
    assert float((gap[0] - gap[1]).mean()) == pytest.approx(0, abs=4 * error) and error < 0.01


def test_a_loss_weighs_as_its_law_of_times_says():
    class Thrice(At):
        def importance(self, t, schedule):
            return 3.0

    denoiser, x_0 = Denoiser(Smooth(0.6), Affine(VP()), V()), data(4)
    once, thrice = (ScoreMatching(time=law((0.3, 0.6)))(denoiser, x_0, seeded()) for law in (At, Thrice))
    torch.testing.assert_close(thrice, 3 * once)


def test_gradients_reach_the_network():
    net = torch.nn.Sequential(torch.nn.Linear(SIZE, 8), torch.nn.SiLU(), torch.nn.Linear(8, SIZE)).double()
    for objective in (Implicit(), Sliced(), Sliced(2, reduced=False), Smoothed(0.3), Smoothed(torch.full((7,), 0.3))):
        net.zero_grad()
        losses = objective(net, data(7), seeded())
        losses.mean().backward()
        assert losses.shape == (7,) and all(p.grad.abs().max() > 0 for p in net.parameters() if p.ndim > 1)


def test_mistakes_are_said():
    with pytest.raises(UserError, match="directions"):
        Sliced(0)
    with pytest.raises(UserError, match="only Gaussian noise"):
        ScoreMatching()(Denoiser(Smooth(1.0), Affine(VP(), PoissonNoise()), V()), data(2), seeded())
