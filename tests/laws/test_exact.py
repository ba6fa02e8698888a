"""Exact denoisers are exact: by quadrature, by Bayes over every case, by their own derivatives."""

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conditioned import labels
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Rule, categoricals, every_sequence, floats, inner_times, product_of, schedules, transition
from torch import distributions as d

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser import prediction as predict
from undiffuse.exact import Chain, Empirical, Gaussian, GaussianMixture, empirical
from undiffuse.process import ABSORBING, EDM, Affine, Categorical, Cosine, Fading, Flow, PoissonNoise

FLOW = Affine(Flow())
TIMES = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=torch.float64)


def random_mixture(
    process: Affine, components: int = 3, shape: tuple[int, ...] = (2,), seed: int = 0
) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(shape)
    roots = torch.randn(components, size, size, dtype=torch.float64, generator=generator) / size**0.5
    means = 2 * torch.randn(components, *shape, dtype=torch.float64, generator=generator)
    weights = 0.2 + torch.rand(components, dtype=torch.float64, generator=generator)
    return GaussianMixture(process, weights, means, roots @ roots.mT + 0.01 * torch.eye(size))


# ----------------------------------------------------------------------------------------- mixtures


@given(schedules, floats(0.0, 0.999), st.integers(0, 100))
def test_the_mixtures_density_is_that_of_torch_distributions(schedule, t, seed):
    mixture = random_mixture(Affine(schedule), seed=seed)
    alpha, sigma, _ = schedule.at(t)
    covariances = alpha**2 * mixture.covariances + sigma**2 * torch.eye(2, dtype=torch.float64)
    theirs = d.MixtureSameFamily(
        d.Categorical(mixture.weights), d.MultivariateNormal(alpha * mixture.means, covariances)
    )
    x = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_density(x, t), theirs.log_prob(x), rtol=1e-8, atol=1e-8)


@given(schedules, floats(0.05, 0.95), floats(-3, 3))
@settings(max_examples=20)
def test_the_mixtures_mean_is_an_integral(schedule, t, x_t):
    mixture = random_mixture(Affine(schedule), shape=(1,))
    alpha, sigma, _ = schedule.at(t)
    x_t *= math.hypot(alpha * 2, sigma)
    x_0 = torch.linspace(-40, 40, 400_001, dtype=torch.float64)[:, None]
    log_weights = mixture.log_density(x_0) - 0.5 * ((x_t - alpha * x_0[:, 0]) / sigma) ** 2
    mean = log_weights.softmax(0) @ x_0
    torch.testing.assert_close(mixture(torch.tensor([[x_t]], dtype=torch.float64), t)[0], mean, rtol=1e-6, atol=1e-6)


@given(schedules, inner_times, st.integers(0, 100))
def test_the_score_is_the_gradient_and_tweedie_gives_the_mean(schedule, t, seed):
    mixture = random_mixture(Affine(schedule), seed=seed)
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixture.log_density(x, t).sum(), x)
    sigma = schedule.at(t).sigma
    torch.testing.assert_close(mixture.score(x, t), gradient, rtol=1e-8, atol=1e-8)
    tweedie = predict.to_score(schedule, x, mixture(x, t), t)
    torch.testing.assert_close(tweedie * sigma**2, gradient * sigma**2, rtol=1e-8, atol=1e-8)


def test_at_the_data_it_knows_and_in_noise_it_does_not():
    mixture = random_mixture(FLOW)
    x = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(mixture(x, 0.0), x)
    mean = (mixture.weights / mixture.weights.sum()) @ mixture.means
    torch.testing.assert_close(mixture(x, 1.0), mean.expand(5, 2))


def test_a_time_a_sample_and_any_shape():
    mixture = random_mixture(Affine(Cosine()), shape=(2, 1, 3))
    x = torch.randn(4, 2, 1, 3, dtype=torch.float64)
    for ask in (mixture, mixture.score, mixture.log_density, mixture.log_share):
        together = ask(x, TIMES)
        for i, t in enumerate(TIMES.tolist()):
            torch.testing.assert_close(together[i : i + 1], ask(x[i : i + 1], t))


def test_a_condition_is_a_component():
    mixture = random_mixture(FLOW)
    x, component = torch.randn(4, 2, dtype=torch.float64), torch.tensor([2, -1, 0, 1])
    found, score = (ask(x, 0.4, labels(component)) for ask in (mixture, mixture.score))
    for i, k in enumerate(component.tolist()):
        alone = mixture if k < 0 else Gaussian(FLOW, mixture.means[k], mixture.covariances[k])
        torch.testing.assert_close(found[i : i + 1], alone(x[i : i + 1], 0.4))
        torch.testing.assert_close(score[i : i + 1], alone.score(x[i : i + 1], 0.4))


def test_samples_of_a_mixture_and_of_its_posterior():
    """Moments within 5 standard errors, and the components as often as they should be."""
    mixture, count = random_mixture(FLOW), 20_000
    x_t = torch.tensor([[0.5, -0.3]], dtype=torch.float64)
    prior = mixture.sample(count, SeededNoise(1))
    posterior = mixture.posterior_sample(x_t.expand(count, 2), 0.5, SeededNoise(2))
    weights = mixture.weights / mixture.weights.sum()
    for drawn, mean in ((prior, weights @ mixture.means), (posterior, mixture(x_t, 0.5)[0])):
        assert ((drawn.mean(0) - mean).abs() < 5 * drawn.std(0) / count**0.5).all()
    # the posterior's spread: Cov(x_0 | x_t) = sigma^2/alpha dE[x_0 | x_t]/dx_t (second-order Tweedie)
    jacobian = torch.autograd.functional.jacobian(lambda x: mixture(x, 0.5), x_t)[0, :, 0]
    assert (posterior.T.cov() - 0.5 * jacobian).abs().max() < 0.05 * jacobian.abs().max()
    assert float(mixture.log_density(prior).mean()) == pytest.approx(
        float(mixture.log_density(mixture.sample(count, SeededNoise(3))).mean()), abs=0.05
    )


def test_flat_directions_are_fine():
    """A covariance of rank 1: the denoiser projects on the line."""
    flat = Gaussian(FLOW, torch.zeros(2).double(), torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double())
    x = torch.tensor([[1.0, 0.0]]).double()
    for t in (0.0, 1e-6, 0.5):
        mean = flat(x, t)
        assert mean.isfinite().all()
        torch.testing.assert_close(mean[:, 0], mean[:, 1])


def test_pictures_in_float32():
    """784 numbers, 3 components: float32 agrees with float64, at every time."""
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(3, 784, 60, generator=generator, dtype=torch.float64) / 8
    means = torch.randn(3, 1, 28, 28, generator=generator, dtype=torch.float64)
    covariances = roots @ roots.mT + 1e-4 * torch.eye(784)
    exact, quick = (
        GaussianMixture(Affine(Cosine()), torch.ones(3).to(kind), means.to(kind), covariances.to(kind))
        for kind in (torch.float64, torch.float32)
    )
    x_0 = exact.sample(4, SeededNoise(0))
    for t in (0.001, 0.01, 0.1, 0.5, 1.0):
        x_t = exact.process.corrupt(x_0, t, SeededNoise(1))
        torch.testing.assert_close(quick(x_t.float(), t).double(), exact(x_t, t), rtol=0, atol=5e-3)


def test_fitting_finds_the_mixture_that_it_was_drawn_from():
    true = GaussianMixture.isotropic(FLOW, torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 3.0]]).double(), 0.5)
    data, fresh = true.sample(3000, SeededNoise(0)), true.sample(3000, SeededNoise(1))
    fit = GaussianMixture.fit(FLOW, data.view(-1, 1, 2), 3)
    assert fit.means.shape == (3, 1, 2)
    loss = true.log_density(fresh).mean() - fit.log_density(fresh.view(-1, 1, 2)).mean()
    assert 0 < loss < 3 * 17 / 3000  # 17 free parameters cost about 17/2n nats


def test_round_components():
    mixture = GaussianMixture.isotropic(FLOW, torch.zeros(2, 1, 3).double(), 0.3)
    assert torch.equal(mixture.weights, torch.ones(2).double())
    torch.testing.assert_close(mixture.covariances, 0.09 * torch.eye(3).double().expand(2, 3, 3))


def test_a_flat_component_has_no_width_across():
    """Eigenvalues of 0 come out as -1e-17 or so: a standard deviation of 0, and not of nan."""
    line = torch.randn(6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mixture = GaussianMixture(FLOW, torch.ones(1).double(), torch.zeros(1, 6).double(), (line @ line.T)[None])
    assert torch.linalg.eigvalsh(mixture.covariances).min() < 0
    x = mixture.sample(50, SeededNoise(0))
    torch.testing.assert_close(x, x @ line @ line.T / line.square().sum(), rtol=0, atol=1e-6)


def test_parameters_that_do_not_fit():
    eye = torch.eye(2)[None]
    with pytest.raises(UserError, match="covariances"):
        GaussianMixture(FLOW, torch.ones(1), torch.zeros(1, 3), eye)
    with pytest.raises(UserError, match="positive"):
        GaussianMixture(FLOW, torch.zeros(1), torch.zeros(1, 2), eye)
    with pytest.raises(UserError, match="only Gaussian noise"):
        GaussianMixture(Affine(EDM(), PoissonNoise(8)), torch.ones(1), torch.zeros(1, 2), eye)


# ----------------------------------------------------------------------------- the Gaussian's flow


@given(schedules, inner_times, inner_times)
def test_the_flow_solves_its_equation(schedule, t, s):
    """Back and forth is nothing; d/ds is the velocity of the denoiser; each point keeps its quantile."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    gaussian = Gaussian(Affine(schedule), torch.tensor([0.7, -1.3, 2.0]).double(), root @ root.T + 0.1 * torch.eye(3))
    x_t = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    x_s = gaussian.flow(x_t, t, s)
    torch.testing.assert_close(gaussian.flow(x_s, s, t), x_t, rtol=1e-7, atol=1e-7)
    gained = gaussian.log_density(x_s, s) - gaussian.log_density(x_t, t)
    torch.testing.assert_close(gained, gained[:1].expand(4), rtol=1e-6, atol=1e-6)  # - log |det|, for all the same
    time = torch.full((4,), s, dtype=torch.float64)
    moved, velocity = torch.func.jvp(lambda s: gaussian.flow(x_t, t, s), (time,), (torch.ones_like(time),))
    torch.testing.assert_close(moved, x_s)
    expected = predict.to_velocity(schedule, x_s, gaussian(x_s, s), s)
    torch.testing.assert_close(velocity, expected, rtol=1e-6, atol=1e-6)


def test_the_flow_ends_at_the_data():
    mean = torch.tensor([[0.7, -3.0]]).double()
    gaussian = Gaussian(FLOW, mean, 4 * torch.eye(2).double())
    x = torch.randn(3, 1, 2).double()
    torch.testing.assert_close(gaussian.flow(x, 1.0), mean + 2 * x)


# ------------------------------------------------------------------------------------ the data set


@given(schedules, floats(0.01, 0.999), st.integers(0, 100))
def test_a_data_set_is_a_mixture_without_width(schedule, t, seed):
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(7, 2, 2, dtype=torch.float64, generator=generator)
    ideal = Empirical(Affine(schedule), data)
    mixture = GaussianMixture.isotropic(ideal.process, data, 0.0)
    x_t = ideal.process.mix(data[:4], torch.randn(4, 2, 2, dtype=torch.float64, generator=generator), t)
    sigma = schedule.at(t).sigma
    torch.testing.assert_close(ideal(x_t, t), mixture(x_t, t), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(ideal.log_density(x_t, t), mixture.log_density(x_t, t), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(sigma * ideal.score(x_t, t), sigma * mixture.score(x_t, t), rtol=1e-6, atol=1e-6)


def test_a_batch_is_worked_through_in_parts(monkeypatch):
    data = torch.randn(50, 3, dtype=torch.float64)
    x = torch.randn(9, 3, dtype=torch.float64)
    t = torch.linspace(0.05, 0.9, 9, dtype=torch.float64)
    whole = Empirical(FLOW, data)
    answers = [whole(x, t), whole.log_density(x, t), whole.posterior_sample(x, t, SeededNoise(0))]
    monkeypatch.setattr(empirical, "WEIGHTS", 100)
    assert max(weights.numel() for weights in whole._log_weights(x, t)) <= 100
    parts = [whole(x, t), whole.log_density(x, t), whole.posterior_sample(x, t, SeededNoise(0))]
    alone = torch.cat([whole(x[i : i + 1], float(t[i])) for i in range(9)])
    for one, other in zip([*answers, answers[0]], [*parts, alone], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("schedule", [Cosine(), EDM(), Flow()])
def test_float32_pictures_keep_their_neighbours_apart(schedule):
    """At small noise the logits are differences of 1e6s: twins 1e-3 apart are told apart in float32, or shared by."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(200, 784, generator=generator)
    data = torch.cat([data, data + 1e-3 * torch.randn(200, 784, generator=generator)])
    process = Affine(schedule)
    exact, quick = Empirical(process, data.double()), Empirical(process, data)
    for level in (-8, 0, 3, 5, 6, 7, 8, 9, 12):
        t = float(schedule.time(torch.tensor(level, dtype=torch.float64)))
        x_t = process.corrupt(data[:8], t, SeededNoise(0))
        torch.testing.assert_close(quick(x_t, t).double(), exact(x_t.double(), t), rtol=0, atol=2e-5)


def test_what_cannot_have_been_is_never_drawn():
    """U[0, 1) includes 0, and the first point may be so far away that its share is 0."""
    ideal = Empirical(FLOW, torch.tensor([[100.0], [0.0], [1.0]], dtype=torch.float64))
    nothing = Rule(torch.zeros(2, dtype=torch.float64))
    assert ideal.posterior_sample(torch.zeros(2, 1, dtype=torch.float64), 0.1, nothing).tolist() == [[0.0], [0.0]]


def test_without_noise_it_is_the_nearest_point():
    data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    x = torch.tensor([[0.4, 0.1], [0.6, 0.1], [5.0, 5.0]])
    assert torch.allclose(Empirical(FLOW, data)(x, 0.0), data[[0, 1, 2]], atol=1e-6)
    with pytest.raises(UserError, match="no density"):
        Empirical(FLOW, data).log_density(x, 0.0)


def test_draws_from_a_data_set():
    data = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
    ideal, count = Empirical(FLOW, data), 20_000
    x_t = torch.full((count, 1), 0.3, dtype=torch.float64)
    drawn = ideal.posterior_sample(x_t, 0.6, SeededNoise(0))
    assert set(drawn.unique().tolist()) == {-1.0, 0.5, 2.0}
    assert abs(drawn.mean() - ideal(x_t[:1], 0.6)) < 5 * drawn.std() / count**0.5
    sampled = ideal.sample(count, SeededNoise(0))
    assert abs(sampled.mean() - data.mean()) < 5 * sampled.std() / count**0.5


@given(floats(-2, 2), floats(0.05, 3))
def test_field_lines_of_poisson_flow(x, sigma):
    """PFGM in one dimension: psi = sum_i atan2(sigma, x - x_i) is constant along the flow dx/dsigma."""
    process = Affine(EDM(), PoissonNoise(1.0))
    data = torch.tensor([[-1.0], [0.2], [1.5]], dtype=torch.float64)
    t = float(process.schedule.time(torch.tensor(-2 * math.log(sigma), dtype=torch.float64)))
    at = torch.tensor([x, process.schedule.at(t).sigma], dtype=torch.float64, requires_grad=True)
    (by_x, by_sigma) = torch.autograd.grad(torch.atan2(at[1], at[0] - data[:, 0]).sum(), at)[0]
    mean = Empirical(process, data)(at.detach()[:1, None], t)[0, 0]
    assert by_x * (x - mean) / sigma + by_sigma == pytest.approx(0, abs=1e-9)


@pytest.mark.skipif("UNDIFFUSE_TEST_DATA" not in os.environ, reason="UNDIFFUSE_TEST_DATA is not set")
def test_sixty_thousand_pictures():
    file = Path(os.environ["UNDIFFUSE_TEST_DATA"]) / "mnist" / "train-images-idx3-ubyte.gz"
    if not file.exists():
        pytest.skip(f"{file} is missing")
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    data = torch.from_numpy(pixels / np.float32(127.5)) - 1
    ideal = Empirical(Affine(Cosine()), data)
    x_0 = data[:4]
    for t in (1e-4, 0.2):  # enough noise to hide a picture from the eye, not from the nearest of 60,000
        x_t = ideal.process.corrupt(x_0, t, SeededNoise(0))
        torch.testing.assert_close(ideal(x_t, t), x_0, rtol=0, atol=1e-4)
    x_t = ideal.process.corrupt(x_0, 0.99, SeededNoise(0))
    assert (ideal(x_t, 0.99) - data.mean(0)).abs().max() < 0.6
    assert torch.equal(ideal.posterior_sample(x_0, 1e-4, SeededNoise(0)), x_0)


# ----------------------------------------------------------------------------------------- chains


@given(categoricals, inner_times, st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=30)
def test_a_chain_by_bayes_over_every_sequence(process, t, length, seed):
    chain = Chain.random(process, length, SeededNoise(seed))
    every, data = every_sequence(process, length), chain.sequences
    table = (chain.table / chain.table.sum()).flatten()
    joint = table[:, None] * product_of(transition(process, t, 0.0)[data])  # row x_0, column x_t
    torch.testing.assert_close(chain.log_density(every, t).exp(), joint.sum(0), rtol=1e-7, atol=1e-12)
    posterior = (joint / joint.sum(0)).T
    for i in range(length):
        for k in range(process.classes):
            probs = posterior[:, data[:, i] == k].sum(1)
            torch.testing.assert_close(chain(every, t)[:, i].softmax(-1)[:, k], probs, rtol=1e-7, atol=1e-9)


def test_a_chain_draws_its_law():
    process, count = Categorical(Fading(), ABSORBING, 2, torch.float64), 20_000
    chain = Chain(process, torch.tensor([[3.0, 0.0], [1.0, 4.0]]))
    drawn = chain.sample(count, SeededNoise(0))
    counts = torch.bincount(drawn[:, 0] * 2 + drawn[:, 1], minlength=4) / count
    assert counts[1] == 0 and (counts - torch.tensor([3, 0, 1, 4]) / 8).abs().max() < 5 * 0.5 / count**0.5
    x_t = torch.tensor([[2, 1]]).expand(count, 2)  # the mask, then 1: only (1, 1) can have been
    assert torch.equal(chain.posterior_sample(x_t, 0.5, SeededNoise(0)), torch.ones(count, 2, dtype=torch.long))
    torch.testing.assert_close(chain.log_density(torch.tensor([[1, 1]])).exp(), torch.tensor([0.5]).double())
    assert chain.log_density(torch.tensor([[0, 1]])) == -math.inf


def test_a_chain_at_a_time_a_sample():
    process = Categorical(Fading(), ABSORBING, 3, torch.float64)
    chain = Chain.random(process, 2, SeededNoise(0))
    x_t, t = torch.tensor([[3, 1], [0, 3], [3, 3]]), torch.tensor([0.2, 0.5, 0.9]).double()
    alone = torch.cat([chain(x_t[i : i + 1], float(t[i])) for i in range(3)])
    torch.testing.assert_close(chain(x_t, t), alone)


def test_of_what_cannot_be_nothing_is_known():
    process = Categorical(Fading(), ABSORBING, 2, torch.float64)
    chain = Chain(process, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert (chain(torch.tensor([[0, 1]]), 0.5) == 0).all()


def test_tables_that_are_not_of_these_tokens():
    process = Categorical(Fading(), ABSORBING, 2, torch.float64)
    for table in (torch.ones(3, 3), torch.ones(2, 3), torch.tensor(1.0), -torch.ones(2)):
        with pytest.raises(UserError, match="joint distribution"):
            Chain(process, table)
