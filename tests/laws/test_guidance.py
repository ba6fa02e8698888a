"""Weight 1 is off, bit for bit; other weights give the closed form; guides compose."""

import math

import pytest
import torch
from conditioned import labels
from hypothesis import given
from hypothesis import strategies as st
from strategies import floats, inner_times, schedules
from torch import Tensor

from undiffuse.denoiser.guidance import (
    AutoGuidance,
    Classifier,
    ClassifierFree,
    DynamicThreshold,
    Interval,
    StaticThreshold,
)
from undiffuse.denoiser.known import Known
from undiffuse.exact import GaussianMixture
from undiffuse.process import Affine, Belief, Cosine, Flow
from undiffuse.sampling.loop import sample
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM

MEAN, STD = 1.2, 0.5
LABEL = labels(torch.tensor([1, 1, 1, 1]))


def two_gaussians(process: Affine) -> GaussianMixture:
    """Equally likely at -MEAN and MEAN, as components 0 and 1."""
    return GaussianMixture.isotropic(process, torch.tensor([[-MEAN], [MEAN]], dtype=torch.float64), STD)


class Watched:
    """A denoiser that remembers what it was asked and what it answered."""

    def __init__(self, denoise) -> None:
        self.denoise, self.asked, self.answers = denoise, [], []

    def __call__(self, x_t: Tensor, t, conditions=None):
        self.asked.append((x_t, t, conditions))
        self.answers.append(self.denoise(x_t, t, conditions))
        return self.answers[-1]


def signs(conditions):
    """1 where the second component is asked for, -1 where none is."""
    values, present = conditions.entries["label"]
    return values.where(present, -1)


def states(count: int = 4) -> Tensor:
    return torch.randn(count, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


# -------------------------------------------------------------------------------------------- off is off


@pytest.mark.parametrize(
    "off",
    [
        lambda d, s: ClassifierFree(d, 1.0, rescale=0.7),
        lambda d, s: AutoGuidance(d, lambda x_t, t, c: 1 / 0, 1.0),
        lambda d, s: Classifier(d, lambda x_t, t, c: 1 / 0, s, 1.0),
        lambda d, s: Interval(ClassifierFree(d, 5.0), s, low=50.0),
    ],
    ids=["classifier-free", "autoguidance", "classifier", "interval"],
)
def test_off_is_the_denoiser_itself(off):
    """The same evaluation of the same state, and its very answer: nothing was added that cancels."""
    process = Affine(Cosine())
    watched, x_t = Watched(two_gaussians(process)), states()
    answer = off(watched, process.schedule)(x_t, 0.5, LABEL)
    assert len(watched.answers) == 1 and answer is watched.answers[0]
    assert watched.asked[0][0] is x_t and watched.asked[0][2] is LABEL


def test_without_conditions_there_is_nothing_to_guide_by():
    watched = Watched(lambda x_t, t, c: x_t)
    assert ClassifierFree(watched, 3.0)(states(), 0.5) is watched.answers[0]


# ---------------------------------------------------------------------------------------- closed forms


@given(schedules, inner_times, floats(-2, 6))
def test_the_guided_field_of_two_gaussians(schedule, t, weight):
    """Its score is that of q_t(x) p_t(y | x)^w, with p_t(y | x) = sigmoid(2 alpha m x/(alpha^2 s^2 + sigma^2)).

    In closed form: the Gaussian halves' E[x_0 | x_t] differ by 2 m sigma^2/variance, whatever x_t.
    """
    process = Affine(schedule)
    alpha, sigma, _ = schedule.at(t)
    variance = alpha**2 * STD**2 + sigma**2
    x_t = states() * variance**0.5
    guided = ClassifierFree(two_gaussians(process), weight)(x_t, t, LABEL)
    share = torch.sigmoid(2 * alpha * MEAN * x_t / variance)
    marginal = alpha * STD**2 / variance * x_t + MEAN * sigma**2 / variance * (2 * share - 1)
    tilt = weight * 2 * MEAN * sigma**2 / variance * (1 - share)
    torch.testing.assert_close(guided, marginal + tilt, rtol=1e-7, atol=1e-7)


@given(schedules, inner_times, floats(-1, 5))
def test_a_classifiers_gradient_is_the_same_guidance(schedule, t, weight):
    process = Affine(schedule)
    mixture, x_t = two_gaussians(process), states()
    free = ClassifierFree(mixture, weight)(x_t, t, LABEL)

    def log_prob(x_t: Tensor, t: float, conditions: None) -> Tensor:
        return mixture.log_share(x_t, t)[:, 1]

    conditional = Classifier(lambda x, t, c=None: mixture(x, t, LABEL), log_prob, schedule, weight)(x_t, t)
    torch.testing.assert_close(conditional, free, rtol=1e-6, atol=1e-6)
    from_none = Classifier(mixture, log_prob, schedule, weight + 1)(x_t, t)
    torch.testing.assert_close(from_none, free, rtol=1e-6, atol=1e-6)
    assert not x_t.requires_grad  # nothing is done to what was given


def test_at_the_data_the_guided_score_is_that_of_the_tilted_law():
    """grad log p(x) p(y | x)^w: there, and only there, guidance samples what it says."""
    process, weight, t = Affine(Flow()), 3.0, 1e-3
    mixture, x = two_gaussians(process), states()
    alpha, sigma, _ = process.schedule.at(t)
    score = (alpha * ClassifierFree(mixture, weight)(alpha * x, t, LABEL) - alpha * x) / sigma**2
    x = x.requires_grad_()
    log_density = mixture.log_density(x) + weight * mixture.log_share(x, 0.0)[:, 1]
    # weight w = 1 is off for a conditional model, so its own p(y | x) is the first of the w
    (tilted,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(score, tilted, rtol=1e-2, atol=1e-2)


@given(floats(-2, 5), st.integers(-1, 1))
def test_classifier_free_is_a_line_through_both(weight, negative):
    process = Affine(Cosine())
    mixture, x_t = two_gaussians(process), states()
    strong, weak = mixture(x_t, 0.6, LABEL), mixture(x_t, 0.6, labels(torch.full((4,), negative)))
    guided = ClassifierFree(mixture, weight, labels(torch.tensor([negative])))(x_t, 0.6, LABEL)
    torch.testing.assert_close(guided, weak + weight * (strong - weak))


def test_one_evaluation_of_both():
    process = Affine(Cosine())
    watched, x_t = Watched(two_gaussians(process)), states()
    asked = labels(torch.tensor([0, 1, -1, 0]))
    guided = ClassifierFree(watched, 2.0)(x_t, 0.5, asked)
    assert len(watched.asked) == 1
    assert watched.asked[0][2].entries["label"].present.tolist() == [True, True, False, True, *[False] * 4]
    unconditional = two_gaussians(process)(x_t, 0.5)
    assert guided.shape == x_t.shape
    torch.testing.assert_close(guided[2], unconditional[2])  # what is not asked for is not guided
    t = torch.tensor([0.1, 0.3, 0.5, 0.9], dtype=torch.float64)
    each = ClassifierFree(watched, 2.0)(x_t, t, asked)
    torch.testing.assert_close(each[2:3], two_gaussians(process)(x_t[2:3], 0.5))


def test_a_worse_denoiser():
    good, bad = (lambda x_t, t, c=None: x_t + 1), (lambda x_t, t, c=None: 2 * x_t)
    x_t = states()
    torch.testing.assert_close(AutoGuidance(good, bad, 2.5)(x_t, 0.5), 2 * x_t + 2.5 * (1 - x_t))
    torch.testing.assert_close(AutoGuidance(good, bad, 0.0)(x_t, 0.5), bad(x_t, 0.5))


def test_a_learned_variance_is_kept():
    v = torch.arange(8.0).view(8, 1)
    learned = lambda x_t, t, c: Belief(x_t + signs(c)[:, None], v[: len(x_t)])  # noqa: E731
    guided = ClassifierFree(learned, 2.0)(states(), 0.5, LABEL)
    assert torch.equal(guided.v, v[:4])
    torch.testing.assert_close(guided.mean, states() - 1 + 2 * 2)
    fixed = lambda x_t, t, c: Belief(x_t, 1.0)  # noqa: E731
    assert DynamicThreshold(ClassifierFree(fixed, 2.0))(states(), 0.5, LABEL).v == 1.0


# ------------------------------------------------------------------------------- intervals, thresholds


def test_guided_only_inside():
    process = Affine(Cosine())
    schedule, mixture = process.schedule, two_gaussians(process)
    free = ClassifierFree(mixture, 4.0)
    some = Interval(free, schedule, low=-2.0, high=3.0)
    x_t = states()
    for log_snr, inside in ((-2.1, False), (-1.9, True), (2.9, True), (3.1, False)):
        t = float(schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
        expected = (free if inside else mixture)(x_t, t, LABEL)
        assert torch.equal(some(x_t, t, LABEL), expected)
        assert torch.equal(Interval(some, schedule)(x_t, t, LABEL), expected)  # they compose


def test_the_ends_of_an_interval_are_inside():
    process = Affine(Cosine())
    x_t, free = states(), ClassifierFree(two_gaussians(process), 4.0)
    for t in (0.5, torch.full((4,), 0.5, dtype=torch.float64)):
        level = process.schedule.at(0.5).log_snr
        assert torch.equal(Interval(free, process.schedule, level, level)(x_t, t, LABEL), free(x_t, t, LABEL))


def test_each_row_by_its_own_time():
    process = Affine(Cosine())
    means = torch.tensor([[[-MEAN, 0.0]], [[MEAN, 1.0]]], dtype=torch.float64)  # pictures of 1 x 2
    mixture = GaussianMixture.isotropic(process, means, STD)
    free, x_t = ClassifierFree(mixture, 4.0), torch.randn(4, 1, 2, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.6, 0.95], dtype=torch.float64)
    low, high = (process.schedule.at(time).log_snr for time in (0.7, 0.3))
    found = Interval(free, process.schedule, low, high)(x_t, t, LABEL)
    guided, plain = free(x_t, t, LABEL), mixture(x_t, t, LABEL)
    assert torch.equal(found, torch.stack([plain[0], guided[1], guided[2], plain[3]]))
    assert (guided - plain).abs().amin((1, 2)).gt(0).all()


@given(floats(0.0, 1.0), floats(0.5, 3.0), floats(0.1, 20))
def test_dynamic_threshold(quantile, limit, size):
    x_0 = size * torch.randn(6, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = DynamicThreshold(lambda x_t, t, c: x_0, quantile, -limit, limit)(x_0, 0.5)
    assert (found.abs() <= limit * (1 + 1e-12)).all()
    for before, after in zip(x_0.flatten(1), found.flatten(1), strict=True):
        if before.abs().max() <= limit:
            assert torch.equal(before, after)
        at_the_limit = int((after.abs() >= limit * (1 - 1e-12)).sum())
        own = before.abs().sort().values[max(1, math.ceil(quantile * 50)) - 1]
        assert at_the_limit == int((before.abs() >= max(float(own), limit)).sum())
        free = after.abs() < limit * (1 - 1e-9)
        assert (after[free] / before[free] - limit / max(float(own), limit)).abs().max() < 1e-9 if free.any() else True


def test_published_numbers():
    """Imagen's quantile, and pictures between -1 and 1."""
    denoise = lambda x_t, t: x_t  # noqa: E731
    assert DynamicThreshold(denoise) == DynamicThreshold(denoise, 0.995, -1.0, 1.0)
    assert StaticThreshold(denoise) == StaticThreshold(denoise, -1.0, 1.0)


def test_static_threshold():
    x_0 = torch.tensor([[-3.0, 0.2, 1.5]])
    assert StaticThreshold(lambda x_t, t, c: x_0)(x_0, 0.5).tolist() == [[-1.0, pytest.approx(0.2), 1.0]]


def test_rescaling_restores_the_spread():
    pictures = torch.randn(8, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoise = lambda x_t, t, c: pictures * (2 + signs(c)[:, None, None, None])  # noqa: E731
    x_t = torch.zeros(4, 3, 4, 4, dtype=torch.float64)
    strong = denoise(x_t, 0.5, labels(torch.tensor([1] * 4 + [-1] * 4)))[:4]
    plain, half, whole = (ClassifierFree(denoise, 5.0, rescale=r)(x_t, 0.5, LABEL) for r in (0.0, 0.5, 1.0))
    spread = lambda x: x.flatten(1).std(1)  # noqa: E731
    assert (spread(plain) > 1.2 * spread(strong)).all()
    torch.testing.assert_close(spread(whole), spread(strong))
    torch.testing.assert_close(half, 0.5 * (plain + whole))


# ------------------------------------------------------------------------------------------- inpainting


@pytest.mark.parametrize("step", [DDIM, Ancestral])
def test_what_is_known_is_kept(step):
    process = Affine(Cosine())
    means = torch.tensor([[[-1.0, -1.0, 0.0]], [[1.0, 1.0, 0.5]]], dtype=torch.float64)
    mixture = GaussianMixture.isotropic(process, means, 0.1)
    known, mask = torch.tensor([[1.0, 0.0, 0.0]]).double(), torch.tensor([[True, False, False]])
    times = [i / 100 for i in range(100, -1, -1)]
    denoise = Known(mixture, process, known, mask)
    x = sample(process, step(process), denoise, torch.empty(200, 1, 3, dtype=torch.float64), times)
    assert torch.equal(x[:, 0, 0], torch.ones(200, dtype=torch.float64))
    assert (x[:, 0, 1] > 0).double().mean() > 0.75  # and the rest follows: half would, were it not told
    nothing_known = Known(mixture, process, known, torch.zeros_like(mask))
    assert torch.equal(nothing_known(x, 0.5), mixture(x, 0.5))
