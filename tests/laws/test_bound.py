"""Bounds lie below the exact log-likelihood, meet it in the limit, and the flow's likelihood equals it.

With finitely many steps the bound is on the likelihood under the *sampler*, which may give a single x_0 more than the
data's law does: against the truth it is a bound on average over data.
"""

import math
from itertools import pairwise

import pytest
import torch
from strategies import Rule, every_sequence, gauss, product_of, transition
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Chain, Empirical, Gaussian, GaussianMixture
from undiffuse.process import ABSORBING, EDM, UNIFORM, Affine, Belief, Categorical, Cosine, Fading, Flow, PoissonNoise
from undiffuse.theory.likelihood import (
    affine_bound,
    bits_per_dim,
    bound,
    log_likelihood,
    reconstruction,
    step_cost,
)

NODES, WEIGHTS = gauss(60)


def even_in_log_snr(process: Affine, steps: int, low: float = -12.0, high: float = 12.0) -> list[float]:
    levels = torch.linspace(low, high, steps + 1, dtype=torch.float64)
    return [*process.schedule.time(levels).tolist(), 0.0]


def gaussian(process: Affine) -> Gaussian:
    return Gaussian(process, torch.tensor([0.4], dtype=torch.float64), torch.tensor([[0.6]], dtype=torch.float64))


def two_peaks(process: Affine) -> GaussianMixture:
    means = torch.tensor([[-1.5], [1.0]], dtype=torch.float64)
    return GaussianMixture.isotropic(process, means, 0.4, torch.tensor([0.3, 0.7], dtype=torch.float64))


def expected_bound(process: Affine, denoise, x_0: Tensor, times: list[float]) -> Tensor:
    """The bound's expectation over x_t for each of x_0, by quadrature."""
    rows = x_0.repeat_interleave(len(NODES))[:, None]
    found = bound(process, denoise, rows, times, Rule(normals=NODES.repeat(len(x_0))))
    assert (found.error == 0).all()
    return found.total.view(len(x_0), -1) @ WEIGHTS


def data_of(exact: GaussianMixture) -> tuple[Tensor, Tensor]:
    """Nodes and weights of expectations over data."""
    nodes, weights = gauss(12)
    x_0 = exact.means + exact.covariances[:, 0].sqrt() * nodes
    return x_0.flatten(), ((exact.weights / exact.weights.sum())[:, None] * weights).flatten()


# --------------------------------------------------------------------------------------------- affine


@pytest.mark.parametrize("schedule", [Cosine(), EDM(), Flow()])
@pytest.mark.parametrize("law", [gaussian, two_peaks])
def test_the_affine_bound_meets_the_density(schedule, law):
    """On average over data never below the entropy; point by point the density in the limit, at order 1."""
    process = Affine(schedule)
    exact = law(process)
    x_0, weights = data_of(exact)
    truth = -exact.log_density(x_0[:, None])
    low = max(schedule.at(1.0).log_snr, -12.0)
    gaps = [expected_bound(process, exact, x_0, even_in_log_snr(process, n, low, 9.0)) - truth for n in (32, 128, 512)]
    few, some, many = (float(weights @ gap) for gap in gaps)
    assert few > some > many > 0
    assert few > 1 and many < 0.1
    assert some / many == pytest.approx(4, rel=0.15)
    # Richardson: what is left when the errors in 1/steps and its square are taken away
    coarse, fine = ((4 * more - less) / 3 for less, more in pairwise(gaps))
    limit = (16 * fine - coarse) / 15
    assert (weights @ limit).abs() < 2e-3
    assert limit[(x_0 > -2) & (x_0 < 2)].abs().max() < 1e-2


def test_on_average_any_denoiser_is_bounded():
    """E -log p <= E bound over data, whatever is believed, and however uncertain the steps."""
    process = Affine(Cosine())
    exact = gaussian(process)
    data, weights = data_of(exact)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.6)
    times = even_in_log_snr(process, 40)
    beliefs = [
        lambda x_t, t: exact(x_t, t) + 0.3,
        lambda x_t, t: 0 * x_t,
        lambda x_t, t: Belief(exact(x_t, t), 1.0),
        lambda x_t, t: Belief(exact(x_t, t), 0.5 * torch.ones_like(x_t)),
    ]
    best = weights @ expected_bound(process, exact, data, times)
    assert best > entropy
    for belief in beliefs[:2]:
        assert weights @ expected_bound(process, belief, data, times) > best
    for belief in beliefs[2:]:
        assert weights @ expected_bound(process, belief, data, times) > entropy


def test_a_learned_step_variance_can_do_better():
    """Beta, the optimal step variance for unit data, beats beta-tilde on unit data at few steps."""
    process = Affine(Cosine())
    unit = Gaussian(process, torch.zeros(1).double(), torch.eye(1).double())
    times = even_in_log_snr(process, 10)
    data, weights = data_of(unit)
    known, wide = (
        weights @ expected_bound(process, lambda x_t, t, v=v: Belief(unit(x_t, t), v), data, times) for v in (0.0, 1.0)
    )
    assert wide < known


def test_some_of_the_steps_are_an_unbiased_estimate():
    process = Affine(Cosine())
    exact = two_peaks(process)
    times = even_in_log_snr(process, 29)
    x_0 = torch.full((1, 1), 0.3, dtype=torch.float64)
    every = bound(process, exact, x_0, times, Rule(normals=NODES[30])).steps
    estimates, errors = [], []
    for seed in range(300):
        chosen = SeededNoise(seed).uniform(torch.empty(29, dtype=torch.float64))
        some = bound(process, exact, x_0, times, Rule(normals=NODES[30], uniforms=chosen), terms=6)
        estimates.append(some.steps)
        errors.append(some.error)
    estimates, errors = torch.cat(estimates), torch.cat(errors)
    assert abs(estimates.mean() - every) < 4 * estimates.std() / 300**0.5
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(estimates.std()), rel=0.2)
    all_of_them = bound(process, exact, x_0, times, Rule(normals=NODES[30], uniforms=chosen), terms=29)
    assert all_of_them.error == 0
    torch.testing.assert_close(all_of_them.steps, every)


@pytest.mark.parametrize("law", [gaussian, two_peaks])
def test_the_affine_bound_is_the_density_whatever_the_schedule(law):
    """Kingma et al. 2021: at given ends the schedule does not matter, draw by draw."""
    x_0 = torch.full((4000, 1), 0.3, dtype=torch.float64)
    totals = []
    for schedule in (Cosine(), EDM(), Flow()):
        process = Affine(schedule)
        exact = law(process)
        found = affine_bound(process, exact, x_0, SeededNoise(0), draws=8, log_snr=(-8.0, 9.0))
        totals.append(found.total)
        torch.testing.assert_close(found.total, totals[0], rtol=1e-6, atol=1e-6)
        truth = -exact.log_density(x_0[:1]).item()
        standard_error = found.total.std().item() / 4000**0.5
        assert abs(found.total.mean().item() - truth) < 5 * standard_error + 2e-3
        assert standard_error < 0.08
        assert (found.error > 0).all()


@pytest.mark.parametrize("schedule", [Cosine(), Flow()])
def test_the_affine_bound_of_steps_is_the_bound_of_the_same_steps(schedule):
    """Of 6 steps, drawn one a sample, against all 6 of each; both above the density, which few steps do not reach."""
    process = Affine(schedule)
    exact, ends = two_peaks(process), (-8.0, 9.0)
    x_0 = exact.sample(20_000, SeededNoise(3))
    first, last = schedule.time(torch.tensor(ends, dtype=torch.float64)).tolist()
    grid = [*torch.linspace(first, last, 7, dtype=torch.float64).tolist(), 0.0]
    every = bound(process, exact, x_0, grid, SeededNoise(0))
    drawn = affine_bound(process, exact, x_0, SeededNoise(1), draws=2, log_snr=ends, steps=6)
    gap = drawn.steps - every.steps
    assert abs(gap.mean()) < 4 * gap.std() / 20_000**0.5 and every.steps.mean() > 20 * gap.std() / 20_000**0.5
    above = drawn.total + exact.log_density(x_0)
    assert above.mean() > 5 * above.std() / 20_000**0.5


def test_the_error_of_drawn_steps_falls_as_the_root_of_their_number():
    """Of all steps there is none; one in each of as many parts varies less, which its estimate does not see."""
    process = Affine(Cosine())
    exact = two_peaks(process)
    x_0 = exact.sample(2000, SeededNoise(3))
    found = [affine_bound(process, exact, x_0, SeededNoise(1), draws=n, log_snr=(-8.0, 9.0)) for n in (8, 32)]
    few, many = (float(one.error.square().mean().sqrt()) for one in found)
    assert many == pytest.approx(0.5 * few, rel=0.1)
    assert few > 0.9 * float((found[0].steps - found[1].steps).std())
    for times in ((1.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.5, 0.2, 0.0)):
        assert (bound(process, exact, x_0[:3], times, SeededNoise(0)).error == 0).all()


def test_bounds_of_pictures_and_batches():
    process = Affine(Cosine())
    exact = Empirical(process, torch.randn(5, 1, 2, 3))
    x_0 = exact.data[:4]
    for found in (
        bound(process, exact, x_0, (1.0, 0.5, 0.1, 0.0), SeededNoise(0)),
        bound(process, exact, x_0, (1.0, 0.0), SeededNoise(0)),
        affine_bound(process, exact, x_0, SeededNoise(0), draws=2),
    ):
        assert all(part.shape == (4,) and part.isfinite().all() for part in (*found, found.total))


def test_grids_that_are_no_bound():
    process = Affine(Cosine())
    x = torch.zeros(1, 1)
    for times in ((1.0,), (1.0, 0.5), (0.5, 1.0, 0.0), (1.0, 1.0, 0.0)):
        with pytest.raises(UserError, match="falling times that end at 0"):
            bound(process, lambda x_t, t: x_t, x, times, SeededNoise(0))
    with pytest.raises(UserError, match="the steps that the grid has"):
        bound(process, lambda x_t, t: x_t, x, (1.0, 0.5, 0.0), SeededNoise(0), terms=2)
    with pytest.raises(UserError, match="only Gaussian noise"):
        bound(Affine(EDM(), PoissonNoise(4)), lambda x_t, t: x_t, x, (1.0, 0.5, 0.0), SeededNoise(0))


# --------------------------------------------------------------------------------------------- tokens


class Everywhere(Categorical):
    """A process that is told where x_t is: expectations by enumeration."""

    def corrupt(self, x_0: Tensor, t: float, noise: Tensor) -> Tensor:
        return noise


def exact_bound(chain: Chain, denoise, times: list[float]) -> Tensor:
    """E bound for every x_0, (sequences,), by the code under test at every x_t, weighted with q(x_t | x_0)."""
    real = chain.process
    process = Everywhere(real.schedule, real.kernel, real.classes, real.dtype)
    data, every = chain.sequences, every_sequence(real, chain.table.ndim)
    x_0, x_t = data.repeat_interleave(len(every), 0), every.repeat(len(data), 1)

    def expected(costs: Tensor, t: float) -> Tensor:
        weights = product_of(transition(real, t, 0.0)[data])
        return torch.where(weights > 0, weights * costs.view_as(weights), 0.0).sum(1)

    *steps, (last, _) = pairwise(times)
    cost = sum(expected(step_cost(process, denoise, x_0, t, s, x_t), t) for t, s in steps)
    cost = cost + expected(reconstruction(process, denoise, x_0, last, x_t), last)
    return cost + real.marginal(data, times[0]).kl(real.prior(data, times[0]))


def by_paths(chain: Chain, denoise, times: list[float]) -> Tensor:
    """-E_q log p(path, x_0)/q(path | x_0), summed over every path of the forward chain, with matrices alone."""
    process, data = chain.process, chain.sequences
    every = every_sequence(process, chain.table.ndim)
    reverse = {
        t: product_of(process.posterior(every, denoise(every, t), t, s).log_probs.exp()) for t, s in pairwise(times)
    }
    rising = times[-2::-1]
    first = product_of(transition(process, rising[0], 0.0)[data])
    index = {tuple(sequence): i for i, sequence in enumerate(every.tolist())}
    at_data = torch.tensor([index[tuple(sequence)] for sequence in data.tolist()])
    cost = plogp(first, first / reverse[rising[0]][:, at_data].T)
    marginal = first
    for s, t in pairwise(rising):
        forward = product_of(transition(process, t, s)[every])
        joint = marginal[:, :, None] * forward  # (x_0, x_s, x_t)
        cost = cost + plogp(joint, forward / reverse[t].T).sum(1)
        marginal = joint.sum(1)
    prior = product_of(process.prior(every[:1]).log_probs.exp())
    return (cost + plogp(marginal, 1 / prior)).sum(1)


def plogp(p: Tensor, ratio: Tensor) -> Tensor:
    return torch.where(p > 0, p * ratio.log(), 0.0)


@pytest.mark.parametrize(("kind", "schedule"), [(UNIFORM, Fading()), (UNIFORM, Cosine()), (ABSORBING, Fading())])
def test_the_tokens_bound_is_that_over_every_path(kind, schedule):
    process = Categorical(schedule, kind, 2, torch.float64)
    chain = Chain.random(process, 2, SeededNoise(3))
    times = [1.0, 0.7, 0.4, 0.15, 0.0]
    weird = torch.randn(process.states**2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for denoise in (chain, lambda x_t, t: weird[(x_t * torch.tensor([process.states, 1])).sum(1)]):
        torch.testing.assert_close(exact_bound(chain, denoise, times), by_paths(chain, denoise, times))


@pytest.mark.parametrize("end", [-20.0, -4.0])
def test_masks_that_the_schedule_does_not_all_lose_cost_what_is_left(end):
    """Cosine() leaves 2e-9 of the tokens unmasked at t = 1: no bound is infinite for it."""
    process = Categorical(Cosine(log_snr_end=end), ABSORBING, 5)
    x_0 = torch.tensor([[0, 4, 2]])
    left = 3 * math.log(5) / (1 + math.exp(-end))
    assert float(process.marginal(x_0, 1.0).kl(process.prior(x_0))) == pytest.approx(left, rel=1e-5)
    chain = Chain.random(Categorical(process.schedule, ABSORBING, 2, torch.float64), 2, SeededNoise(3))
    times = [1.0, 0.7, 0.4, 0.15, 0.0]
    torch.testing.assert_close(exact_bound(chain, chain, times), by_paths(chain, chain, times))


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING])
def test_the_tokens_bound_meets_the_probability(kind):
    process = Categorical(Fading(), kind, 3, torch.float64)
    chain = Chain.random(process, 2, SeededNoise(3))
    truth = -chain.log_density(chain.sequences)
    gaps = [exact_bound(chain, chain, [i / n for i in range(n, -1, -1)]) - truth for n in (2, 16, 64, 256)]
    averages = [float(truth.neg().exp() @ gap) for gap in gaps]
    assert averages[0] > averages[1] > averages[2] > averages[3] > 0
    assert averages[2] / averages[3] == pytest.approx(4, rel=0.1)
    assert averages[0] > 0.02 and averages[3] < 2e-3
    assert gaps[3].abs().max() < 0.05  # and not only on average, but for every sequence


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING])
def test_any_belief_about_tokens_is_bounded(kind):
    process = Categorical(Fading(), kind, 2, torch.float64)
    chain = Chain.random(process, 2, SeededNoise(3))
    times = [i / 8 for i in range(8, -1, -1)]
    law = chain.log_density(chain.sequences).exp()
    entropy = -(law * law.log()).sum()
    best = law @ exact_bound(chain, chain, times)
    for denoise in (
        lambda x_t, t: torch.zeros(*x_t.shape, 2).double(),
        lambda x_t, t: 2 * chain(x_t, t).clamp(min=-50),
    ):
        assert law @ exact_bound(chain, denoise, times) > best > entropy


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING])
def test_one_token_is_bounded_tightly_at_any_count(kind):
    """Without dependence nothing is lost by believing tokens alone: masked, the bound is H(p) at every count."""
    process = Categorical(Fading(), kind, 4, torch.float64)
    chain = Chain.random(process, 1, SeededNoise(0))
    truth = -chain.log_density(chain.sequences)
    law = (-truth).exp()
    gap = law @ (exact_bound(chain, chain, [1.0, 0.6, 0.3, 0.0]) - truth)
    assert gap == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING])
def test_the_drawn_bound_of_tokens_has_that_mean(kind):
    process = Categorical(Fading(), kind, 2, torch.float64)
    chain = Chain.random(process, 3, SeededNoise(3))
    times = [1.0, 0.75, 0.5, 0.25, 0.0]
    x_0 = chain.sequences.repeat_interleave(2000, 0)
    drawn = bound(process, chain, x_0, times, SeededNoise(0)).total.view(-1, 2000)
    error = drawn.std(1) / 2000**0.5
    assert ((drawn.mean(1) - exact_bound(chain, chain, times)).abs() < 4.5 * error + 1e-9).all()


# ------------------------------------------------------------------------------------------- the flow


@pytest.mark.parametrize("schedule", [Cosine(), EDM(), Flow()])
@pytest.mark.parametrize("law", [gaussian, two_peaks])
def test_the_flows_likelihood_is_the_density(schedule, law):
    """Exactly that of data with the noise of the flow's end: q_t(alpha y) alpha."""
    process = Affine(schedule)
    exact = law(process)
    x_0 = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    found = log_likelihood(process, exact, x_0, SeededNoise(0), log_snr=(-20.0, 9.0), tolerance=1e-8)
    ends = -8.0 if isinstance(schedule, EDM) else -20.0
    t = float(schedule.time(torch.tensor(9.0, dtype=torch.float64)))
    alpha = schedule.at(t).alpha
    truth = exact.log_density(alpha * x_0, t) + math.log(alpha)
    # at the noise's end the prior is N(0, sigma^2 + 1) and x_t has another mean and variance: e^ends is left of it
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-6 + 4 * math.exp(0.5 * ends) * 0.4)


def test_the_flows_likelihood_of_pictures_with_probes():
    """For round data the divergence is the same along every sign vector: one probe is exact."""
    process = Affine(Cosine())
    round_, other = (
        Gaussian(process, torch.zeros(1, 2, 3).double(), torch.diag(torch.tensor(v, dtype=torch.float64)))
        for v in ([0.5] * 6, [0.1, 0.3, 0.5, 0.7, 0.9, 1.1])
    )
    x_0 = round_.sample(4, SeededNoise(0))
    exact, probed = (log_likelihood(process, round_, x_0, SeededNoise(0), probes=n) for n in (None, 1))
    torch.testing.assert_close(probed, exact)
    torch.testing.assert_close(exact, round_.log_density(x_0), rtol=0, atol=1e-3)
    # Axes that are not the data's: signs along a rotation see cross terms, right on average.
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    turned = Gaussian(process, other.means[0], turn @ other.covariances[0] @ turn.T)
    x_0 = turned.sample(1, SeededNoise(0)).expand(500, 1, 2, 3)
    drawn = log_likelihood(process, turned, x_0, SeededNoise(0), probes=2, tolerance=1e-3)
    assert drawn.std() > 0
    assert abs(drawn.mean() - turned.log_density(x_0[:1])) < 5 * drawn.std() / 500**0.5 + 5e-3


def test_the_flows_likelihood_in_float32_leaves_no_gradient():
    process = Affine(Cosine())
    exact = Gaussian(process, torch.zeros(2), torch.eye(2))
    x_0 = torch.randn(3, 2)
    found = log_likelihood(process, exact, x_0, SeededNoise(0), log_snr=(-10.0, 10.0))
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, exact.log_density(x_0), rtol=0, atol=2e-3)


def test_bits():
    """A uniform picture of 256 levels costs 8 bits a number, in whatever units the model sees it; a fair token 1."""
    for width in (1.0, 2 / 255):
        nats = torch.tensor(12 * math.log(256 * width))
        assert bits_per_dim(nats, 12, width).item() == pytest.approx(8)
    assert bits_per_dim(torch.tensor(5 * math.log(2)), 5).item() == pytest.approx(1)
