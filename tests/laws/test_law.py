"""The normal and the discrete law agree with torch.distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import Rule, floats, gauss, midpoints
from torch import distributions as d

from undiffuse.core.distribution import Discrete, Normal, log
from undiffuse.core.noise import SeededNoise

means = st.lists(floats(-3, 3), min_size=6, max_size=6).map(lambda v: torch.tensor(v, dtype=torch.float64).view(2, 3))
stds = st.one_of(
    floats(0.1, 3), st.lists(floats(0.1, 3), min_size=6, max_size=6).map(lambda v: torch.tensor(v).double().view(2, 3))
)
logits = st.lists(floats(-5, 5), min_size=24, max_size=24).map(
    lambda v: torch.tensor(v, dtype=torch.float64).view(2, 3, 4).log_softmax(-1)
)


@given(means, stds, means, stds)
def test_normal(mean, std, other_mean, other_std):
    wide = [torch.as_tensor(s, dtype=torch.float64).expand(2, 3) for s in (std, other_std)]
    ours, other = Normal(mean, std), Normal(other_mean, other_std)
    theirs, their_other = d.Normal(mean, wide[0]), d.Normal(other_mean, wide[1])
    torch.testing.assert_close(ours.log_prob(other_mean), theirs.log_prob(other_mean).sum(1))
    torch.testing.assert_close(ours.kl(other), d.kl_divergence(theirs, their_other).sum(1), rtol=1e-9, atol=1e-9)
    assert (ours.kl(ours) == 0).all()


def test_a_normal_is_drawn_by_its_mean_and_std():
    nodes, weights = gauss(5)
    for std in (0.5, torch.full((5, 1), 0.5, dtype=torch.float64)):
        x = Normal(torch.full((5, 1), 2.0, dtype=torch.float64), std).sample(Rule(normals=nodes))[:, 0]
        torch.testing.assert_close(weights @ x, torch.tensor(2.0).double())
        torch.testing.assert_close(weights @ (x - 2) ** 2, torch.tensor(0.25).double())


def test_a_point_draws_no_noise():
    mean, noise = torch.ones(2, 3), SeededNoise(0)
    assert Normal(mean, 0.0).sample(noise) is mean and noise.draws == 0


@given(logits, logits)
def test_discrete(p, q):
    x = torch.tensor([[0, 1, 2], [3, 0, 3]])
    ours, theirs = Discrete(p), d.Categorical(logits=p)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).sum(1))
    torch.testing.assert_close(ours.kl(Discrete(q)), d.kl_divergence(theirs, d.Categorical(logits=q)).sum(1))


def test_what_cannot_be_costs_nothing_where_it_is_not():
    sure, half = torch.tensor([[[1.0, 0.0]]]).log(), torch.tensor([[[0.5, 0.5]]]).log()
    assert Discrete(sure).kl(Discrete(half)).item() == pytest.approx(math.log(2))
    assert Discrete(half).kl(Discrete(sure)).item() == math.inf
    assert Discrete(sure).kl(Discrete(sure)).item() == 0


@given(logits)
def test_discrete_draws_have_their_probabilities(p):
    """Inversion of a midpoint rule with n nodes counts every state to 1 in n."""
    n = 1000
    drawn = Discrete(p[0, 0].expand(n, 1, 4)).sample(Rule(midpoints(n)))
    counts = torch.bincount(drawn.flatten(), minlength=4) / n
    torch.testing.assert_close(counts.double(), p[0, 0].exp(), rtol=0, atol=1.01 / n)


def test_impossible_states_are_never_drawn():
    p = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]).log().expand(100_000, 5)
    assert set(Discrete(p).sample(SeededNoise(3)).unique().tolist()) == {1, 3}


def test_rare_states_are_drawn_as_often_as_they_should_be():
    """1e-9 in float32 uniforms would be 0 or 6e-8: a node just below the end of the interval finds it."""
    p = torch.tensor([1 - 1e-9, 1e-9], dtype=torch.float64).log().expand(2, 1, 2)
    u = torch.tensor([[1 - 1.1e-9], [1 - 0.9e-9]], dtype=torch.float64)
    assert Discrete(p).sample(Rule(u)).flatten().tolist() == [0, 1]


def test_a_number_on_an_edge_belongs_to_the_state_above():
    """U[0, 1) includes 0: a first state of probability 0 is not drawn even then."""
    p = torch.tensor([0.0, 0.5, 0.25, 0.25], dtype=torch.float64).log().expand(4, 1, 4)
    u = torch.tensor([[0.0], [0.5], [0.75], [1 - 1e-16]], dtype=torch.float64)
    assert Discrete(p).sample(Rule(u)).flatten().tolist() == [1, 2, 3, 3]


def test_the_logarithm_of_nothing_has_no_slope():
    p = torch.tensor([0.0, 0.25], requires_grad=True)
    found = log(p)
    assert found.tolist() == [-math.inf, pytest.approx(math.log(0.25))]
    found[1].backward()
    assert p.grad.tolist() == [0.0, 4.0]
    assert torch.equal(Discrete.of(p.detach()).log_probs, found.detach())
