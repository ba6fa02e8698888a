"""Classes in a row: every probability right in every digit, however small, by sums of four hundred digits."""

from functools import lru_cache

import mpmath
import pytest
import torch

from undiffuse.process import Categorical, Fading, Ordinal
from undiffuse.process.kernel import ALL, Survival
from undiffuse.process.ordinal import EXACT

TIMES = [(0.9, 0.5), (0.3, 0.299), (0.01, 0.005), (1e-3, 1e-6), (1e-8, 5e-9), (1e-12, 3e-13)]


@lru_cache
def walk(classes: int, reach: int, lost_s: float, lost_t: float) -> list[list[mpmath.mpf]]:
    """Q(s -> t) by its eigenvectors, the row's cosines, in as many digits as its smallest entry takes."""
    with mpmath.workdps(60 + 20 * classes):
        K, keep = classes, (1 - mpmath.mpf(lost_t)) / (1 - mpmath.mpf(lost_s))
        turn = [mpmath.cos(mpmath.pi * i / (2 * K)) for i in range(4 * K)]  # of cos(pi k (x + 1/2)/K)
        rates = [1 - sum(turn[2 * k * j % (4 * K)] for j in range(1, reach + 1)) / reach for k in range(K)]
        left = [mpmath.exp(mpmath.log(keep) * rate / rates[1]) for rate in rates]
        wave = [[turn[k * (2 * x + 1) % (4 * K)] for k in range(1, K)] for x in range(K)]
        faded = [[2 * f * w for f, w in zip(left[1:], row, strict=True)] for row in wave]
        return [[(1 + mpmath.fdot(row, other)) / K for other in wave] for row in faded]


def exact(classes: int, reach: int, t: float, s: float, x_t: int) -> torch.Tensor:
    """q(x_s | x_t, x_0), row x_0, column x_s."""
    with mpmath.workdps(60 + 20 * classes):
        to_s, step, to_t = (walk(classes, reach, *lost) for lost in ((0, s), (s, t), (0, t)))
        rows = [[float(to_s[x][y] * step[y][x_t] / to_t[x][x_t]) for y in range(classes)] for x in range(classes)]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("t", "s"), TIMES)
@pytest.mark.parametrize("reach", [1, 3])
def test_the_posterior_under_any_belief_at_any_time(reach, t, s):
    """A uniform belief asks most: of classes that x_t has hardly come from."""
    classes, x_t = 16, 5
    bridges = exact(classes, reach, t, s, x_t)
    some = torch.randn(classes, generator=torch.Generator().manual_seed(0)) * 3
    for dtype, close in ((torch.float32, 1e-6), (torch.float64, 1e-9)):
        process = Categorical(Fading(), Ordinal(reach), classes, dtype)
        for logits in (torch.zeros(classes), some, 50 * torch.eye(classes)[14]):
            found = process.posterior(torch.tensor([[x_t]]), logits[None, None].to(dtype), t, s).log_probs[0, 0].exp()
            assert 0.5 * (found.double() - logits.double().softmax(-1) @ bridges).abs().sum() < close


@pytest.mark.parametrize(("classes", "reach", "lost"), [(16, 1, 1e-9), (16, 5, 1e-3), (3, 4, 1e-10), (24, 1, 1e-5)])
def test_no_probability_is_too_small_to_be_right(classes, reach, lost):
    truth = torch.tensor([[float(q) for q in row] for row in walk(classes, reach, 0, lost)], dtype=torch.float64)
    assert 0 < truth.min() < 1e-9
    found = Ordinal(reach).forward(torch.eye(classes, dtype=torch.float64), ALL, Survival(1 - lost, lost))
    torch.testing.assert_close(found, truth, rtol=1e-6, atol=0)


def test_a_bridge_from_afar_is_half_way_at_half_time():
    """Of 256 classes, where what x_t has come from has a probability of e^-2000: binomial over the way."""
    process = Categorical(Fading(), Ordinal(), 256, torch.float64)
    law = process.posterior(torch.tensor([[230]]), torch.tensor([[20]]), 2e-6, 1e-6).log_probs[0, 0].exp()
    binomial = torch.distributions.Binomial(210, torch.tensor(0.5).double())
    truth = binomial.log_prob(torch.arange(211).double()).exp()
    torch.testing.assert_close(law[20:231], truth, rtol=1e-3, atol=1e-12)


def test_each_sample_has_its_own_time_and_gradients_are_finite():
    process = Categorical(Fading(), Ordinal(2), 16)
    x_t, logits = torch.randint(16, (3, 4)), torch.randn(3, 4, 16, requires_grad=True)
    t = torch.tensor([1e-9, 0.02, 0.7]).double()
    together = process.posterior(x_t, logits, t, t / 2).log_probs
    for i, one in enumerate(t.tolist()):
        alone = process.posterior(x_t[i : i + 1], logits[i : i + 1], one, one / 2).log_probs
        torch.testing.assert_close(together[i : i + 1], alone)
    process.posterior(x_t, torch.randint(16, (3, 4)), t, t / 2).kl(
        process.posterior(x_t, logits, t, t / 2)
    ).sum().backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().max() > 0


def test_many_classes_agree_with_few_where_both_can_be_had(monkeypatch):
    x_t, logits = torch.tensor([[3, 20]]), torch.randn(1, 2, 32).double()
    process = Categorical(Fading(), Ordinal(), 32, torch.float64)
    exactly = process.posterior(x_t, logits, 0.9, 0.4).log_probs.exp()
    assert EXACT > 32
    monkeypatch.setattr("undiffuse.process.ordinal.EXACT", 8)
    torch.testing.assert_close(process.posterior(x_t, logits, 0.9, 0.4).log_probs.exp(), exactly, atol=1e-8, rtol=1e-6)
