"""Tokens: losses that are the bound, samplers that draw the law, on chains small enough to enumerate."""

import math
from itertools import product

import pytest
import torch
from conditioned import labels
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.guidance import ClassifierFree
from undiffuse.denoiser.known import Known
from undiffuse.exact import Chain
from undiffuse.loss.categorical import MaskedBound, TokenBound, Unrolled
from undiffuse.loss.rates import RateBound, divergence
from undiffuse.loss.time import Uniform
from undiffuse.process import (
    ABSORBING,
    UNIFORM,
    Categorical,
    Cosine,
    Fading,
    HybridNoise,
    Neighbours,
    Ordinal,
    Replace,
)
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.samplers import TOKEN_SAMPLERS
from undiffuse.step.token_flow import TokenFlow
from undiffuse.step.unmask import FirstHitting, MarginFirst, MostConfidentFirst
from undiffuse.step.unrolling import Unrolling

DRAWS = 20_000


class Knows(nn.Module):
    """The exact denoiser, as a loss sees one."""

    block = None

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain, self.process = chain, chain.process

    def forward(self, x_t: Tensor, t: float, conditions: None = None) -> Tensor:
        return self.chain(x_t, t)


def chain_of(kernel, classes: int = 3, length: int = 3, schedule=None) -> Chain:
    process = Categorical(schedule or Fading(), kernel, classes, torch.float64)
    return Chain.random(process, length, SeededNoise(1))


def entropy(chain: Chain) -> float:
    p = (chain.table / chain.table.sum()).flatten()
    return float(-(p * p.log()).sum()) / chain.table.ndim


def near(losses: Tensor, truth: float) -> None:
    """The mean is right to 4 standard errors, which are small."""
    error = float(losses.double().std()) / math.sqrt(len(losses))
    assert error < 0.02 * truth and abs(float(losses.double().mean()) - truth) < 4 * error


@pytest.mark.parametrize("schedule", [Fading(), Cosine()])
def test_the_masked_bound_of_the_exact_denoiser_is_the_entropy(schedule):
    torch.manual_seed(0)
    chain = chain_of(ABSORBING, schedule=schedule)
    losses = MaskedBound()(Knows(chain), chain.sample(DRAWS, SeededNoise(2)), Stream())
    near(losses, entropy(chain))


def test_the_masked_bound_from_a_start_is_the_integral_from_there():
    """Of one token it falls evenly in t, under alpha-bar = 1 - t."""
    chain = chain_of(ABSORBING, length=1)
    losses = MaskedBound(Uniform(start=0.6))(Knows(chain), chain.sample(DRAWS, SeededNoise(2)), SeededNoise(3))
    near(losses, 0.4 * entropy(chain))


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM, Replace(), HybridNoise(), Ordinal()])
def test_the_bound_by_rates_of_the_exact_denoiser_is_the_entropy_whatever_the_noise(kernel):
    """Summed over every x_0 and x_t; the integral over t by 100 midpoints of u = sqrt(t), where noise begins slowly."""
    chain = chain_of(kernel, classes=3, length=2)
    process, p = chain.process, (chain.table / chain.table.sum()).flatten()
    every = torch.cartesian_prod(*[torch.arange(process.states)] * 2)
    x_0, x_t = chain.sequences.repeat_interleave(len(every), 0), every.repeat(len(chain.sequences), 1)
    found = 0.0
    for u in ((torch.arange(100) + 0.5) / 100).tolist():
        q = process.marginal(x_0, u * u).log_prob(x_t).exp() * p.repeat_interleave(len(every))
        excess = divergence(process, x_t, x_0, chain(x_t, u * u), u * u)
        found += float(torch.where(q > 0, q * excess, 0.0).sum()) * 2 * u / 100
    assert found == pytest.approx(entropy(chain), rel=2e-3)


def test_of_masks_the_bound_by_rates_is_the_weighted_cross_entropy():
    """Row by row, of a denoiser that knows nothing."""
    process = Categorical(Fading(), ABSORBING, 3)
    says, x_0 = Says(process, torch.randn(4, 3)), torch.randint(3, (64, 4))
    says.block = None
    by_rates, by_masks = (loss(says, x_0, SeededNoise(1)) for loss in (RateBound(), MaskedBound()))
    torch.testing.assert_close(by_rates.double(), by_masks.double(), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM, Replace()])
@pytest.mark.parametrize(("t", "s"), [(0.9, 0.2), (0.5, 0.4)])
def test_a_step_of_the_flow_has_the_marginals_of_its_path_however_long(kernel, t, s):
    """Token by token, also where tokens depend on each other."""
    chain = coupled(kernel)
    process, noise = chain.process, SeededNoise(5)
    x_t = process.corrupt(chain.sample(DRAWS, noise), t, noise)
    x_s, _ = TokenFlow(process)(chain, x_t, t, s, None, noise)
    truth = process.corrupt(chain.sample(20 * DRAWS, noise), s, noise)
    for ours, theirs in zip(x_s.T, truth.T, strict=True):
        shares = (x.bincount(minlength=process.states) / len(x) for x in (ours, theirs))
        torch.testing.assert_close(*shares, rtol=0, atol=0.012)


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM, Replace(), Ordinal()])
def test_the_bound_by_one_step_a_sample_is_that_by_all(kernel):
    """E over data and steps of the loss = entropy + E_q log of the path: summed here step by step, exactly in t."""
    torch.manual_seed(0)
    chain, steps = chain_of(kernel, classes=3, length=2), 5
    process, data = chain.process, chain.sequences
    p = (chain.table / chain.table.sum()).flatten()
    truth, states = 0.0, process.states
    every = torch.cartesian_prod(*[torch.arange(states)] * 2)
    for i in range(steps, 0, -1):
        t, s = i / steps, (i - 1) / steps
        q = process.marginal(data, t).log_probs.exp()  # (sequences, length, states)
        weights = (q[:, 0, :, None] * q[:, 1, None, :]).flatten(1)  # over every x_t
        for x_0, weight, mass in zip(data, weights, p, strict=True):
            here = x_0.expand(len(every), -1)
            kl = process.posterior(every, here, t, s).kl(process.posterior(every, chain(every, t), t, s))
            truth += float(mass * torch.where(weight > 0, weight * kl, 0.0).sum()) / 2
    loss = TokenBound(Uniform(steps=steps), auxiliary=0.0)
    near(loss(Knows(chain), chain.sample(DRAWS, SeededNoise(2)), Stream()), truth)


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM, Ordinal(), Neighbours(torch.tensor([[1], [2], [0]]))])
@pytest.mark.parametrize("s", [0.75, 0.5, 0.3, 0.1])
def test_where_all_is_lost_a_belief_is_all_there_is(kernel, s):
    process = Categorical(Fading(), kernel, 3, torch.float64)
    belief = torch.tensor([0.6, 0.3, 0.1]).double()
    x_1 = torch.full((1, 1), 3 if kernel == ABSORBING else 1)
    law = process.posterior(x_1, belief.log().expand(1, 1, 3), 1.0, s).log_probs.exp()
    truth = sum(p * process.marginal(torch.full((1, 1), k), s).log_probs.exp() for k, p in enumerate(belief))
    torch.testing.assert_close(law, truth, atol=1e-6, rtol=1e-6)


class Says(nn.Module):
    """Whatever is seen, the same logits."""

    def __init__(self, process: Categorical, logits: Tensor) -> None:
        super().__init__()
        self.process, self.logits = process, logits

    def forward(self, x_t: Tensor, t: float, conditions: None = None) -> Tensor:
        return self.logits.expand(len(x_t), -1, -1)


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM, Replace(), Ordinal()])
def test_the_bounds_gradient_is_its_slope(kernel):
    """Also where some states are impossible, and their logarithms -inf."""
    torch.manual_seed(0)
    chain, loss = chain_of(kernel), TokenBound(Uniform(steps=4), auxiliary=0.0)
    x_0, logits = chain.sample(64, SeededNoise(0)), torch.randn(3, 3, dtype=torch.float64, requires_grad=True)

    def bound(logits: Tensor) -> Tensor:
        return loss(Says(chain.process, logits), x_0, SeededNoise(1)).mean()

    (gradient,) = torch.autograd.grad(bound(logits), logits)
    step = torch.randn(3, 3, dtype=torch.float64) * 1e-3
    with torch.no_grad():
        slope = float(bound(logits + step) - bound(logits - step))
    assert slope == pytest.approx(2 * float((gradient * step).sum()), rel=2e-2)


def test_the_auxiliary_term_is_the_cross_entropy():
    chain = chain_of(UNIFORM)
    x_0 = chain.sample(64, SeededNoise(0))
    bound, both = (TokenBound(Uniform(steps=4), weight) for weight in (0.0, 0.5))
    added = both(Knows(chain), x_0, SeededNoise(3)) - bound(Knows(chain), x_0, SeededNoise(3))
    t = Uniform(steps=4).sample(64, noise := SeededNoise(3), Fading())
    logits = chain(chain.process.corrupt(x_0, t, noise), t)
    truth = -logits.log_softmax(-1).gather(-1, x_0[..., None]).mean((1, 2))
    torch.testing.assert_close(added.double(), 0.5 * truth, rtol=1e-4, atol=1e-6)


def test_unrolling_once_more_scores_the_denoisers_own_draws():
    """The second unroll's inputs are draws of the first's beliefs: its loss, by enumeration of one token."""
    torch.manual_seed(0)
    process = Categorical(Fading(), UNIFORM, 3, torch.float64)
    chain = Chain(process, torch.tensor([0.5, 0.3, 0.2]).double())
    x_0 = chain.sample(DRAWS, SeededNoise(0))
    once, twice = (Unrolled(k)(Knows(chain), x_0, SeededNoise(5)) for k in (1, 2))
    second = float((2 * twice - once).mean())
    p, truth = chain.table, 0.0
    for t in ((torch.arange(200) + 0.5) / 200).tolist():
        q = process.marginal(torch.arange(3)[:, None], t).log_probs[:, 0].exp()  # row x_0
        belief = (p[:, None] * q / (p @ q)).T  # row x_t, or what is drawn of it
        truth += float(-(p[:, None] * (q @ belief) * belief.log().T).sum()) / 200
    assert second == pytest.approx(truth, rel=0.02)


def test_what_is_unrolled_is_a_draw_of_what_was_said():
    seen, logits = [], torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).double().log()

    class Watched(Says):
        def forward(self, x_t: Tensor, t: Tensor, conditions: None = None) -> Tensor:
            seen.append(x_t)
            return super().forward(x_t, t)

    process = Categorical(Fading(), UNIFORM, 3)
    losses = Unrolled(3)(Watched(process, logits), torch.zeros(DRAWS, 2, dtype=torch.long), SeededNoise(0))
    torch.testing.assert_close(losses, torch.full_like(losses, -(math.log(0.6) + math.log(0.1)) / 2))
    for x in seen[1:]:
        law = torch.stack([token.bincount(minlength=3) / DRAWS for token in x.T])
        torch.testing.assert_close(law.double(), logits.exp(), rtol=0, atol=0.015)
    assert len(seen) == 3 and not seen[1].equal(seen[2])


# ------------------------------------------------------------------------------------------------ sampling


def drawn(chain: Chain, name: str, steps: int, seed: int = 0) -> Tensor:
    """The law of a sampler's draws, over all sequences."""
    process = chain.process
    times, noise = trailing(process.schedule, steps), SeededNoise(seed)
    start = process.start(torch.zeros(DRAWS, chain.table.ndim, dtype=torch.long), noise)
    x = last(trajectory(TOKEN_SAMPLERS[name].make(process), chain, start, times, noise))
    classes = process.classes
    assert int(x.max()) < classes
    index = (x * classes ** torch.arange(chain.table.ndim - 1, -1, -1)).sum(1)
    return torch.bincount(index, minlength=classes**chain.table.ndim).double() / DRAWS


def distance(chain: Chain, law: Tensor) -> float:
    """In total variation; of exact draws about 0.01."""
    return float((law - (chain.table / chain.table.sum()).flatten()).abs().sum()) / 2


@pytest.mark.parametrize("name, steps", [("first-hitting", 3), ("ancestral", 60)])
def test_what_is_known_conditions_the_rest(name, steps):
    chain = chain_of(ABSORBING)
    process, x_0 = chain.process, torch.tensor([0, 2, 0])
    known = torch.tensor([False, True, False])
    times, noise = trailing(process.schedule, steps), SeededNoise(1)
    start = torch.where(known, x_0, process.start(torch.zeros(DRAWS, 3, dtype=torch.long), noise))
    x = last(trajectory(TOKEN_SAMPLERS[name].make(process), Known(chain, process, x_0, known), start, times, noise))
    assert (x[:, 1] == 2).all()
    law = torch.bincount(3 * x[:, 0] + x[:, 2], minlength=9).double() / DRAWS
    given = chain.table[:, 2] / chain.table[:, 2].sum()
    assert float((law - given.flatten()).abs().sum()) / 2 < 0.02


def test_the_surest_of_what_is_not_known_are_shown_a_share_a_step():
    """As many as the schedule shows, of what is masked: what is known is no part of it."""
    table = torch.zeros(2, 2, 2, 2, 2, 2, dtype=torch.float64)
    table[0, 0, 0, 0, 0, 0] = table[1, 1, 1, 1, 1, 1] = 0.5
    chain = Chain(Categorical(Fading(), ABSORBING, 2, torch.float64), table)
    step, seen = MostConfidentFirst(chain.process), []
    x = torch.tensor([[2, 2, 2, 2, 2, 2]]).expand(50, -1)
    times, noise = trailing(chain.process.schedule, 6), SeededNoise(0)
    for state, _ in trajectory(step, chain, x, times, noise):
        seen.append(int((state == 2).sum(1).max()))
    assert seen == [6, 5, 4, 3, 2, 1, 0]
    half = torch.where(torch.arange(6) < 4, x, 0)  # two are shown at t = 1 already
    left = [int((state == 2).sum(1).max()) for state, _ in trajectory(step, chain, half, (*times[:1], 0.5, 0.0), noise)]
    assert left == [4, 2, 0]


def test_unrolling_draws_a_share_anew_at_its_temperature():
    chain = Chain(Categorical(Fading(), UNIFORM, 3, torch.float64), torch.tensor([0.5, 0.3, 0.2]).double())
    x_t, knows = torch.zeros(DRAWS, 1, dtype=torch.long), chain(torch.zeros(1, 1, dtype=torch.long), 0.9)
    for temperature, share in ((1.0, 1.0), (0.5, 0.4)):
        step = Unrolling(chain.process, temperature, share)
        x, _ = step(chain, x_t, 0.9, 0.5, None, SeededNoise(4))
        law = share * (knows / temperature).softmax(-1)[0, 0] + (1 - share) * torch.tensor([1.0, 0.0, 0.0])
        torch.testing.assert_close(torch.bincount(x[:, 0]).double() / DRAWS, law, atol=0.015, rtol=0)
    masks = Unrolling(Categorical(Fading(), ABSORBING, 3), share=0.1)
    ended, _ = masks(lambda x, t: torch.zeros(*x.shape, 3), torch.full((50, 4), 3), 0.1, 0.0, None, SeededNoise(1))
    assert int(ended.max()) < 3
    with pytest.raises(UserError, match="temperature above 0"):
        Unrolling(chain.process, temperature=0.0)


def coupled(kernel) -> Chain:
    """Tokens that are nearly always alike: what sampling them one by one gets wrong."""
    process = Categorical(Fading(), kernel, 3, torch.float64)
    table = torch.full((3, 3), 0.02).double() + torch.eye(3).double() * torch.tensor([0.5, 0.3, 0.1]).double()
    return Chain(process, table)


def test_first_hitting_draws_the_law_itself_in_as_many_steps_as_tokens():
    chain = chain_of(ABSORBING)
    assert distance(chain, drawn(chain, "first-hitting", 3)) < 0.02
    assert distance(coupled(ABSORBING), drawn(coupled(ABSORBING), "first-hitting", 2)) < 0.01


@pytest.mark.parametrize("chain", [chain_of(ABSORBING), coupled(ABSORBING)])
def test_an_order_that_what_is_seen_decides_draws_the_law_itself(chain):
    """With a step for each token; an order that the draws decide does not."""
    length = chain.table.ndim
    assert distance(chain, drawn(chain, "margin-first", length)) < 0.02
    assert distance(chain, drawn(chain, "margin-first", length)) < distance(
        chain, drawn(chain, "most-confident-first", length)
    )


def test_places_where_one_token_is_far_ahead_come_first():
    """Not those whose draw is likely: of these beliefs, the second is as sure of its best, and less ahead."""
    probs = torch.tensor([[0.4, 0.3, 0.3], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]).double()
    step, x = MarginFirst(Categorical(Fading(), ABSORBING, 3, torch.float64)), torch.full((50, 3), 3)
    for t, s, shown in ((1.0, 2 / 3, [2]), (2 / 3, 1 / 3, [0, 2]), (1 / 3, 0.0, [0, 1, 2])):
        x, _ = step(lambda x_t, t: probs.log().expand(len(x_t), 3, 3), x, t, s, None, SeededNoise(0))
        assert ((x != 3).nonzero()[:, 1].view(50, -1) == torch.tensor(shown)).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_first_hittings_level_after_several_tokens(count):
    """The denoiser is told the process's own moments: revealing c of n masks at once, from U(0, 1) moments.

    1 - a is at first the largest of n, (n)/(n + 1) in the mean; c tokens later the largest of the n - c that are left.
    """
    n, process, told = 6, Categorical(Fading(), ABSORBING, 3, torch.float64), []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        told.append(process.survival(t).lose)
        return torch.zeros(*x_t.shape, 3, dtype=torch.float64)

    x, noise, step = torch.full((DRAWS, n), 3), SeededNoise(0), FirstHitting(process)
    x, memory = step(denoise, x, 1.0, 1.0 - count / n, None, noise)
    assert ((x == 3).sum(1) == n - count).all()
    step(denoise, x, 1.0 - count / n, 0.0, memory, noise)
    left = n - count
    for lose, mean in zip(told, (n / (n + 1), (left + 1) / (n + 1) * left / (left + 1)), strict=True):
        assert float(lose.mean()) == pytest.approx(mean, abs=5 * float(lose.std()) / math.sqrt(DRAWS))


def test_first_hitting_in_fewer_steps_reveals_more_at_once():
    assert distance(coupled(ABSORBING), drawn(coupled(ABSORBING), "first-hitting", 1)) > 0.2


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        *product(["ancestral", "tau-leaping", "forward-backward"], [ABSORBING, UNIFORM, Replace(), Ordinal()]),
        *product(["token-flow"], [ABSORBING, UNIFORM, Replace()]),
        *product(["ancestral", "tau-leaping"], [HybridNoise()]),
    ],
)
def test_samplers_of_tokens_draw_the_law_as_steps_grow(name, kernel):
    chain = coupled(kernel)
    few, many = (distance(chain, drawn(chain, name, steps)) for steps in (2, 60))
    assert many < 0.04 and many < 0.5 * few


@pytest.mark.parametrize("kernel", [ABSORBING, UNIFORM])
def test_drawing_twice_mends_steps_that_are_too_long(kernel):
    chain = coupled(kernel)
    assert distance(chain, drawn(chain, "forward-backward", 3)) < 0.8 * distance(chain, drawn(chain, "ancestral", 3))


def test_the_surest_come_first_and_as_many_as_the_schedule_says():
    process = Categorical(Fading(), ABSORBING, 2, torch.float64)
    sure = torch.tensor([[0.0, 9.0], [0.0, 3.0], [0.0, 6.0], [0.0, 1.0]]).double()[None]
    step, x = MostConfidentFirst(process, randomness=0.0), torch.full((1, 4), 2)
    for t, s, shown in ((1.0, 0.75, [0]), (0.75, 0.5, [0, 2]), (0.5, 0.25, [0, 1, 2]), (0.25, 0.0, [0, 1, 2, 3])):
        x, _ = step(lambda x_t, t: sure, x, t, s, None, SeededNoise(0))
        assert (x[0] != 2).nonzero()[:, 0].tolist() == shown


def test_unmasking_needs_a_mask():
    for make in (FirstHitting, MarginFirst, MostConfidentFirst):
        with pytest.raises(UserError, match="mask"):
            make(Categorical(Fading(), UNIFORM, 2))
    with pytest.raises(UserError, match="mask"):
        MaskedBound()(Knows(chain_of(UNIFORM)), torch.zeros(2, 3, dtype=torch.long), Stream())


def test_guided_logits_are_the_tilted_law():
    """softmax(weak + w (strong - weak)) = p(x_0)^(1-w) p(x_0 | y)^w / normaliser."""
    strong, weak = torch.randn(2, 4, 5).log_softmax(-1).unbind(0)

    def denoise(x_t: Tensor, t: float, asked: Conditions) -> Tensor:
        return torch.stack([strong if there else weak for there in asked.entries["label"].present])

    guided = ClassifierFree(denoise, 2.5)(torch.zeros(1, 4, dtype=torch.long), 0.5, labels(torch.tensor([1])))
    truth = strong.exp() ** 2.5 * weak.exp() ** -1.5
    torch.testing.assert_close(guided[0].softmax(-1), truth / truth.sum(-1, keepdim=True))


def test_a_head_that_leaves_one_out_reads_as_a_posterior():
    chain = chain_of(UNIFORM, length=1)
    prior = (chain.table / chain.table.sum()).log()
    denoiser = TokenDenoiser(lambda x, routes: prior.expand(*x.shape, -1), chain.process, True)
    x_t = torch.arange(3)[:, None]
    for t in (0.4, torch.tensor([0.1, 0.5, 0.9]).double()):
        torch.testing.assert_close(denoiser(x_t, t).log_softmax(-1), chain(x_t, t).log_softmax(-1))
