"""Posteriors are Bayes' rule: by conditioning a Gaussian, and by explicit matrices over every state."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import categoricals, every_sequence, floats, inner_times, product_of, schedules, transition

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Chain
from undiffuse.process import (
    ABSORBING,
    UNIFORM,
    Affine,
    Belief,
    Categorical,
    Fading,
    Flow,
    Linear,
    Neighbours,
    Ordinal,
    PoissonNoise,
    Replace,
    ZeroTerminal,
)
from undiffuse.process.kernel import ALL, Survival

# ------------------------------------------------------------------------------------------------ affine


@given(schedules, floats(0.01, 0.99), floats(0.01, 0.99))
def test_the_affine_posterior_conditions_a_gaussian(schedule, fraction, t):
    """Brute force: the joint covariance of (x_s, x_t) given x_0, from one chain s -> t of the process."""
    s = fraction * t
    (a_t, sigma_t, _), (a_s, sigma_s, _) = schedule.at(t), schedule.at(s)
    a = a_t / a_s  # x_t = a x_s + noise
    added = sigma_t**2 - (a * sigma_s) ** 2
    var_s, covariance, var_t = sigma_s**2, a * sigma_s**2, a**2 * sigma_s**2 + added
    x_0, x_t = 0.7, -0.4
    gain = covariance / var_t
    law = Affine(schedule).posterior(torch.full((1, 1), x_t).double(), torch.full((1, 1), x_0).double(), t, s)
    assert law.mean.item() == pytest.approx(a_s * x_0 + gain * (x_t - a_t * x_0), rel=1e-6, abs=1e-6)
    assert law.std**2 == pytest.approx(var_s - gain * covariance, rel=1e-6, abs=1e-9)


def test_steps_through_a_middle_time_are_one_step():
    """Chapman-Kolmogorov: q(x_r | x_t, x_0) is q(x_r | x_s, x_0) averaged over q(x_s | x_t, x_0)."""
    process = Affine(Flow())
    x_t, x_0, t, s, r = torch.tensor([[1.3]]).double(), torch.tensor([[-0.2]]).double(), 0.9, 0.6, 0.2
    middle = process.posterior(x_t, x_0, t, s)
    low, high = (process.posterior(torch.tensor([[v]]).double(), x_0, s, r) for v in (0.0, 1.0))
    slope = high.mean - low.mean
    whole = process.posterior(x_t, x_0, t, r)
    torch.testing.assert_close(low.mean + slope * middle.mean, whole.mean)
    assert low.std**2 + float(slope * middle.std) ** 2 == pytest.approx(whole.std**2)


@pytest.mark.parametrize("i", [2, 10, 500, 1000])
def test_ddpm_formulas(i):
    """Ho et al. 2020, eqs. 6-7, with beta_i and alpha-bar as tables; beta-tilde for v = 0, beta for v = 1."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    bar = (1 - beta).cumprod(0)
    now, before = bar[i - 1], bar[i - 2]
    x_t, x_0 = torch.tensor([[0.3]]).double(), torch.tensor([[1.1]]).double()
    mean = before.sqrt() * beta[i - 1] / (1 - now) * x_0 + (1 - beta[i - 1]).sqrt() * (1 - before) / (1 - now) * x_t
    small = (1 - before) / (1 - now) * beta[i - 1]
    process = Affine(Linear())
    for v, variance in ((0.0, small), (1.0, beta[i - 1]), (0.3, beta[i - 1] ** 0.3 * small**0.7)):
        for belief in (v, torch.full_like(x_0, v)):
            law = process.posterior(x_t, Belief(x_0, belief), i / 1000, (i - 1) / 1000)
            torch.testing.assert_close(law.mean, mean, rtol=1e-9, atol=1e-12)
            assert float(law.std) ** 2 == pytest.approx(float(variance), rel=1e-7)
    assert process.posterior(x_t, x_0, i / 1000, (i - 1) / 1000).std ** 2 == pytest.approx(float(small), rel=1e-8)


@given(schedules, inner_times, inner_times)
def test_the_widest_step_is_exact_for_unit_data(schedule, t, s):
    """Of N(0, 1) data the belief (mean, v = 1) makes the true reverse step, in any family: x_s has its variance."""
    t, s = max(t, s), min(t, s)
    assume(t - s > 1e-6)
    process = Affine(schedule)
    alpha, sigma, _ = schedule.at(t)
    x_t = torch.full((1, 1), math.hypot(alpha, sigma), dtype=torch.float64)  # one standard deviation
    step = process.posterior(x_t, Belief(alpha / (alpha**2 + sigma**2) * x_t, 1.0), t, s)
    then = schedule.at(s)
    assert float(step.mean) ** 2 + float(step.std) ** 2 == pytest.approx(then.alpha**2 + then.sigma**2, rel=1e-6)


@given(schedules, floats(0.01, 1.0))
def test_the_last_step_is_the_belief_itself(schedule, t):
    x_t, x_0 = torch.randn(3, 2).double(), torch.randn(3, 2).double()
    law = Affine(schedule).posterior(x_t, x_0, t, 0.0)
    torch.testing.assert_close(law.mean, x_0, rtol=1e-9, atol=1e-9)
    assert law.std == 0.0


@pytest.mark.parametrize("schedule", [Flow(), ZeroTerminal(Linear())])
def test_a_posterior_from_noise_alone(schedule):
    """At alpha = 0 x_t says nothing: q(x_s | x_t, x_0) = q(x_s | x_0)."""
    x_t, x_0 = torch.randn(3, 2).double(), torch.randn(3, 2).double()
    law, marginal = Affine(schedule).posterior(x_t, x_0, 1.0, 0.5), Affine(schedule).marginal(x_0, 0.5)
    torch.testing.assert_close(law.mean, marginal.mean)
    assert law.std == pytest.approx(marginal.std)


def test_other_noise_has_no_posterior():
    process, x = Affine(Flow(), PoissonNoise(8.0)), torch.zeros(1, 2)
    for ask in (
        lambda: process.posterior(x, x, 0.5, 0.2),
        lambda: process.marginal(x, 0.5),
        lambda: process.prior(x),
        lambda: process.decoder(x, x, 0.1),
    ):
        with pytest.raises(UserError, match="only Gaussian noise has"):
            ask()


@given(schedules, floats(0.01, 0.99), floats(0.2, 5))
def test_networks_see_unit_variance_and_sampling_starts_with_it(schedule, t, sigma_data):
    """Data of variance sigma_data^2 has variance alpha^2 sigma_data^2 + sigma^2 at t: scaled away, drawn, believed."""
    process, (alpha, sigma, _) = Affine(schedule, sigma_data=sigma_data), schedule.at(t)
    spread = math.sqrt((alpha * sigma_data) ** 2 + sigma**2)
    assert process.input_scale(t) == pytest.approx(1 / spread)
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert process.prior(x, t).std == pytest.approx(spread) and not process.prior(x, t).mean.any()
    torch.testing.assert_close(process.start(x, SeededNoise(0), t), spread * SeededNoise(0).normal(x))
    decoder = process.decoder(x + 0.6, x, t)
    assert (decoder.mean[0, 0].item(), decoder.std) == pytest.approx((0.6 / alpha, sigma / alpha))


# ------------------------------------------------------------------------------------------- categorical


@given(categoricals, floats(0.01, 0.99), floats(0.01, 0.999))
def test_transitions_compose(process, fraction, t):
    """Q(0 -> s) Q(s -> t) = Q(0 -> t), and the process's marginal is it."""
    s = fraction * t
    torch.testing.assert_close(transition(process, s, 0.0) @ transition(process, t, s), transition(process, t, 0.0))
    x_0 = torch.arange(process.classes)
    torch.testing.assert_close(process.marginal(x_0, t).log_probs.exp(), transition(process, t, 0.0)[x_0])


@given(categoricals, floats(0.05, 0.95), floats(0.01, 0.999), st.integers(0, 2**31))
def test_the_categorical_posterior_is_bayes_rule(process, fraction, t, seed):
    s = fraction * t
    classes, states = process.classes, process.states
    to_s, step, to_t = transition(process, s, 0.0), transition(process, t, s), transition(process, t, 0.0)
    logits = torch.randn(classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for x_t in range(states):
        known = torch.stack([to_s[x_0] * step[:, x_t] / to_t[x_0, x_t] for x_0 in range(classes) if to_t[x_0, x_t] > 0])
        possible = [x_0 for x_0 in range(classes) if to_t[x_0, x_t] > 0]
        here = torch.full((len(possible), 1), x_t)
        law = process.posterior(here, torch.tensor(possible)[:, None], t, s)
        close = {"rtol": 1e-7, "atol": 1e-12}
        law = process.posterior(here, torch.tensor(possible)[:, None], t, s)
        # a Fourier transform is right to 1e-16 of the whole, so what it says of the rarest x_t is right to less
        rarest = to_t[possible, x_t].min()
        close = {"rtol": 1e-7, "atol": 1e-12 if isinstance(process.kernel, Replace) else 1e-12 / float(rarest)}
        torch.testing.assert_close(law.log_probs[:, 0].exp(), known, **close)

        belief = logits.softmax(0)[possible] / logits.softmax(0)[possible].sum()
        law = process.posterior(here[:1], logits[None, None], t, s)
        torch.testing.assert_close(law.log_probs[0, 0].exp(), belief @ known, **close)
        decoded = process.decoder(here[:1], logits[None, None], t).log_probs[0, 0].exp()
        torch.testing.assert_close(decoded[possible], belief, **close)


@given(categoricals, floats(0.01, 0.999))
def test_posteriors_are_normalised_and_never_change_what_is_revealed(process, t):
    absorbing = process.kernel == ABSORBING
    x_t = torch.arange(process.states)[None]
    logits = torch.randn(1, process.states, process.classes, dtype=torch.float64)
    probs = process.posterior(x_t, logits, t, 0.5 * t).log_probs.exp()[0]
    torch.testing.assert_close(probs.sum(-1), torch.ones_like(probs[:, 0]))
    if absorbing:
        torch.testing.assert_close(probs[:-1], torch.eye(len(probs), dtype=torch.float64)[:-1])


def test_tokens_given_at_the_start_stay():
    process = Categorical(Fading(), ABSORBING, 3, torch.float64)
    law = process.posterior(torch.tensor([[2, 3]]), torch.zeros(1, 2, 3).double(), 1.0, 0.5)
    torch.testing.assert_close(
        law.log_probs.exp()[0], torch.tensor([[0, 0, 1, 0], [1, 1, 1, 3]]).double() / torch.tensor([[1], [6]])
    )


@settings(max_examples=20)
@given(st.sampled_from([UNIFORM, ABSORBING, Replace()]), floats(1e-9, 1e-6))
def test_almost_nothing_lost_is_not_nothing(kind, t):
    """In float32, 1 - a(t) would round to a multiple of 6e-8: rare changes must keep their probability."""
    quick, exact = (Categorical(Fading(), kind, 3, dtype) for dtype in (torch.float32, torch.float64))
    x = torch.tensor([[0]])
    for law in (lambda p: p.marginal(x, t), lambda p: p.posterior(x, torch.tensor([[0]]), 2 * t, t)):
        torch.testing.assert_close(law(quick).log_probs.double(), law(exact).log_probs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING, Replace(), Ordinal()])
def test_a_time_a_sample(kind):
    process = Categorical(Fading(), kind, 3, torch.float64)
    x_0 = torch.tensor([[0, 2], [1, 1]])
    t = torch.tensor([0.3, 0.8], dtype=torch.float64)
    together = process.marginal(x_0, t).log_probs
    for i, one in enumerate(t.tolist()):
        torch.testing.assert_close(together[i : i + 1], process.marginal(x_0[i : i + 1], one).log_probs)


def test_every_shape_of_tokens():
    process = Categorical(Fading(), ABSORBING, 3, torch.float64)
    for shape in ((), (5,), (2, 3)):
        x_0 = torch.zeros(4, *shape, dtype=torch.long)
        assert process.marginal(x_0, 0.5).log_probs.shape == (4, *shape, 4)
        assert process.posterior(x_0, torch.zeros(4, *shape, 3), 0.5, 0.2).log_probs.shape == (4, *shape, 4)


@pytest.mark.parametrize("kind", [UNIFORM, ABSORBING, Replace(), Ordinal()])
def test_ancestral_sampling_reaches_the_joint_law(kind):
    """The law of three tokens, carried exactly through every step: nearer to the joint as steps grow, at order 1.

    Tokens are believed one by one, so a single step loses their dependence; the error falls as 1/steps.
    """
    process = Categorical(Fading(), kind, 2, torch.float64)
    chain = Chain.random(process, 3, SeededNoise(1))
    truth = (chain.table / chain.table.sum()).flatten()
    errors = [float((carried(process, chain, steps) - truth).abs().sum()) for steps in (1, 16, 64, 256)]
    assert errors[0] > 0.05
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.3) and errors[2] / errors[3] == pytest.approx(4, rel=0.2)
    assert errors[3] < 5e-3


def carried(process: Categorical, chain: Chain, steps: int) -> torch.Tensor:
    """p(x_0) of ancestral sampling from t = 1, over all sequences, without drawing anything."""
    states, length = process.states, chain.table.ndim
    every = every_sequence(process, length)
    law = product_of(process.prior(every[:1]).log_probs.exp())[0]
    for i in range(steps, 0, -1):
        t, s = i / steps, (i - 1) / steps
        law = law @ product_of(process.posterior(every, chain(every, t), t, s).log_probs.exp())
    return law.view((states,) * length)[(slice(process.classes),) * length].flatten()


@given(categoricals, floats(0.01, 0.999), st.integers(0, 1000))
def test_a_head_that_leaves_its_own_token_out_is_made_a_posterior(process, t, seed):
    """p(x_0^i | x_t) from p(x_0^i | the other tokens), by enumeration of a chain; the two are not the same."""
    chain = Chain.random(process, 2, SeededNoise(seed))
    table, to_t = chain.table / chain.table.sum(), transition(process, t, 0.0)[: process.classes]
    for x_t in every_sequence(process, 2):
        other = table @ to_t[:, x_t[1]]  # p(x_0^0, x_t^1), by x_0^0
        if (other * to_t[:, x_t[0]]).sum() < 1e-9:
            continue
        believed = process.believed(x_t[None, :1], (other / other.sum()).log()[None, None], t)
        torch.testing.assert_close(
            believed.softmax(-1)[0, 0], chain(x_t[None], t).softmax(-1)[0, 0], rtol=1e-5, atol=1e-6
        )


def test_a_belief_is_sure_of_what_is_known_and_rules_out_what_is_not():
    """Of two tokens of four classes; where nothing is known x_0 may be the mask."""
    process, belief = Categorical(Fading(), ABSORBING, 4, torch.float64), torch.zeros(1, 2, 4).double()
    x_0, known = torch.tensor([[2, 4]]), torch.tensor([[True, False]])
    ruled_out = torch.tensor([[[False] * 4, [True, False, True, False]]])
    for out, rest in ((None, [0.25, 0.25, 0.25, 0.25]), (ruled_out, [0.0, 0.5, 0.0, 0.5])):
        settled = process.settle(belief, x_0, known, out).softmax(-1)
        assert settled.tolist() == [[[0.0, 0.0, 1.0, 0.0], rest]]
    assert process.reveal(torch.tensor([[4, 4]]), x_0, known).tolist() == [[2, 4]] and process.hints(known) == {}


def test_a_token_is_as_wide_as_32_classes_to_a_number():
    widths = {1: 1, 2: 1, 32: 1, 63: 1, 64: 2, 256: 8}
    assert {k: Categorical(Fading(), UNIFORM, k).width for k in widths} == widths


def test_classes_by_the_thousand():
    """Cost and memory are linear in K: a matrix of 50,000 x 50,000 would be 20 GB."""
    vectors = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    for kernel, classes in (
        (UNIFORM, 50_000),
        (Replace(), 50_000),
        (Ordinal(), 50_000),
        (Neighbours.of(vectors), 2000),
    ):
        process = Categorical(Fading(), kernel, classes)
        x_t, x_0 = torch.tensor([[3, process.classes // 2]]), torch.tensor([[3, 7]])
        law = process.posterior(x_t, x_0, 0.5, 0.2)
        torch.testing.assert_close(law.log_probs.exp().sum(-1), torch.ones(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("walk", [0.0, 4.0, 100.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_long_walk_loses_no_probability(walk, dtype):
    """Also where that of taking no step at all, exp(-walk log 1/a), is below any number."""
    process = Categorical(Fading(), Neighbours(torch.tensor([[1], [0], [1], [1]]), walk), 4, dtype)
    for t in (0.0, 0.3, 0.7, 0.9, 0.97):
        law = process.kernel.forward(torch.eye(4, dtype=dtype), ALL, process.survival(t))
        torch.testing.assert_close(law.double(), transition(process, t, 0.0), rtol=1e-4, atol=1e-5)
        assert (law >= 0).all()
    keep = torch.tensor([0.9, 0.03], dtype=torch.float64)  # one a sample
    together = process.kernel.forward(torch.eye(4, dtype=dtype)[:2], ALL, Survival(keep, 1 - keep))
    torch.testing.assert_close(together.sum(-1), torch.ones(2, dtype=dtype))


def test_neighbours_are_the_nearest():
    vectors = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
    assert Neighbours.of(vectors, neighbours=1).edges.tolist() == [[1], [2], [1], [2]]


def test_kernels_that_cannot_be():
    for make, says in (
        (lambda: Replace(1.5), "from 0 to 1"),
        (lambda: Ordinal(0), "at least 1"),
        (lambda: Neighbours.of(torch.randn(3, 2), 3), "1 to 2 neighbours"),
        (lambda: Neighbours(torch.tensor([[1], [0]]), walk=-1.0), "at least 0, not -1"),
        (lambda: Neighbours.of(torch.randn(3, 2), 1, walk=float("nan")), "at least 0, not nan"),
    ):
        with pytest.raises(UserError, match=says):
            make()
