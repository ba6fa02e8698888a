"""Each guide's closed form on exact Gaussians, and that guides stack: around beliefs, with one evaluation, in order."""

import math

import pytest
import torch
from conditioned import labels
from hypothesis import given
from strategies import floats, inner_times, schedules
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.denoiser.guidance import (
    AutoGuidance,
    Classifier,
    ClassifierFree,
    DynamicThreshold,
    Interval,
    StaticThreshold,
)
from undiffuse.exact import GaussianMixture
from undiffuse.process import Affine, Belief, Cosine

MEANS = torch.tensor([[-1.2, 0.3], [1.2, -0.3], [0.0, 2.0]], dtype=torch.float64)
STD = 0.5
LABEL = torch.tensor([1, 0, 2, 1])
ASKED, NEGATIVE = labels(LABEL), labels(torch.tensor([2]))


def mixture(process: Affine, std: float = STD) -> GaussianMixture:
    return GaussianMixture.isotropic(process, MEANS, std)


def states() -> Tensor:
    return 1.5 * torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gaussian(process: Affine, t: float, x_t: Tensor, mean: Tensor, std: float) -> Tensor:
    """E[x_0 | x_t] of N(mean, std^2)."""
    alpha, sigma, _ = process.schedule.at(t)
    variance = alpha**2 * std**2 + sigma**2
    return (alpha * std**2 * x_t + sigma**2 * mean) / variance


@given(schedules, inner_times, floats(-2, 6))
def test_a_negative_is_a_mean_moved_along_the_line_between_both(schedule, t, weight):
    """Of Gaussians of one width, w guides to the one whose mean is negative + w (asked for - negative), at every t."""
    process = Affine(schedule)
    x_t = states()
    guided = ClassifierFree(mixture(process), weight, negative=NEGATIVE)(x_t, t, ASKED)
    moved = MEANS[2] + weight * (MEANS[LABEL] - MEANS[2])
    torch.testing.assert_close(guided, gaussian(process, t, x_t, moved, STD), rtol=1e-7, atol=1e-7)


@given(schedules, inner_times, floats(-1, 4), floats(0.6, 1.5))
def test_autoguidance_of_two_gaussians(schedule, t, weight, wide):
    """Away from a wider one: precisions and their means add with weights w and 1 - w, as the scores do."""
    process = Affine(schedule)
    alpha, sigma, _ = schedule.at(t)
    x_t, label = states(), LABEL
    guided = AutoGuidance(mixture(process), mixture(process, wide), weight)(x_t, t, ASKED)
    score = sum(
        share * (alpha * MEANS[label] - x_t) / (alpha**2 * std**2 + sigma**2)
        for share, std in ((weight, STD), (1 - weight, wide))
    )
    torch.testing.assert_close(alpha * guided, x_t + sigma**2 * score, rtol=1e-7, atol=1e-7)


@given(schedules, inner_times, floats(0, 5), floats(0, 1))
def test_rescale_of_two_gaussians(schedule, t, weight, rescale):
    process = Affine(schedule)
    x_t = states()
    strong = gaussian(process, t, x_t, MEANS[LABEL], STD)
    plain = gaussian(process, t, x_t, MEANS[2] + weight * (MEANS[LABEL] - MEANS[2]), STD)
    guided = ClassifierFree(mixture(process), weight, negative=NEGATIVE, rescale=rescale)(x_t, t, ASKED)
    ratio = strong.std(1, keepdim=True) / plain.std(1, keepdim=True) if weight != 1 else torch.ones(4, 1)
    torch.testing.assert_close(guided, plain * (1 - rescale + rescale * ratio), rtol=1e-6, atol=1e-6)


def test_the_exact_classifier_takes_conditions_with_the_state():
    """Given row by row, as a run gives them: with weight 2 Bayes' rule, whatever is asked for."""
    process = Affine(Cosine())
    exact, x_t = mixture(process), states()

    def log_prob(x_t: Tensor, t: float, asked: Conditions) -> Tensor:
        return exact.log_share(x_t, t).gather(1, asked.entries["label"].values[:, None])[:, 0]

    guided = Classifier(lambda x_t, t, c: exact(x_t, t), log_prob, process.schedule, 2.0)
    torch.testing.assert_close(guided(x_t, 0.4, ASKED), exact(x_t, 0.4, ASKED), rtol=1e-7, atol=1e-7)


# ------------------------------------------------------------------------------------------------ attributes


def test_of_several_attributes_one_is_guided_and_another_kept():
    """Attributes that add: guided on the first alone, the second's share of the mean is what was asked for."""
    first, second = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [10.0], [20.0]])

    def denoise(x_t: Tensor, t: float, asked: Conditions) -> Tensor:
        one, other = ((values + 1) * present for values, present in asked.entries.values())
        return first[one] + second[other]

    asked = labels(one=torch.tensor([0, 1]), other=torch.tensor([1, 0]))
    guided = ClassifierFree(denoise, 3.0, labels(one=torch.tensor([-1])))(torch.zeros(2, 1), 0.5, asked)
    assert guided.tolist() == [[3 * 1.0 + 20], [3 * 3.0 + 10]]


# --------------------------------------------------------------------------------------------------- stacked


class Counted:
    """A belief of a learned variance, and how much was asked."""

    def __init__(self, process: Affine) -> None:
        self.exact, self.sizes = mixture(process), []

    def __call__(self, x_t: Tensor, t: float, conditions: Conditions | None = None) -> Belief:
        self.sizes.append(len(x_t))
        mean = self.exact(x_t, t, conditions)
        return Belief(mean, torch.sigmoid(mean))


STACKS = {
    "interval": lambda free, schedule: Interval(free, schedule, -2.0, 2.0),
    "static": lambda free, schedule: StaticThreshold(free, -0.7, 0.7),
    "dynamic": lambda free, schedule: DynamicThreshold(free, 0.5, -0.7, 0.7),
    "static interval": lambda free, schedule: StaticThreshold(Interval(free, schedule, -2.0, 2.0), -0.7, 0.7),
    "interval of interval": lambda free, schedule: Interval(Interval(free, schedule, -9.0, 2.0), schedule, -2.0, 9.0),
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("log_snr", [-3.0, 0.5, 3.0])
def test_guides_stack_around_a_belief(stack, log_snr):
    """The mean is as the parts say in turn, the variance the condition's own; one evaluation, of twice the batch."""
    process = Affine(Cosine())
    schedule = process.schedule
    t = float(schedule.time(torch.tensor(log_snr, dtype=torch.float64)))
    inside = abs(log_snr) <= 2 or "interval" not in stack
    x_t, counted = states(), Counted(process)
    found = STACKS[stack](ClassifierFree(counted, 2.5, negative=NEGATIVE), schedule)(x_t, t, ASKED)
    assert counted.sizes == ([8] if inside else [4])

    exact = mixture(process)
    mean = exact(x_t, t, ASKED)
    v = torch.sigmoid(mean)
    if inside:
        weak = exact(x_t, t, labels(torch.full((4,), 2)))
        mean = weak + 2.5 * (mean - weak)
    if "static" in stack:
        mean = mean.clamp(-0.7, 0.7)
    if stack == "dynamic":
        mean = DynamicThreshold(lambda x_t, t, c: mean, 0.5, -0.7, 0.7)(x_t, t)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.v, v)


def test_weight_1_of_every_stack_is_the_denoiser_bit_for_bit():
    process = Affine(Cosine())
    x_t, counted = states(), Counted(process)
    plain = counted(x_t, 0.5, ASKED)
    off = Interval(ClassifierFree(counted, 1.0, negative=NEGATIVE, rescale=1.0), process.schedule)
    found = StaticThreshold(off, -math.inf, math.inf)(x_t, 0.5, ASKED)
    assert torch.equal(found.mean, plain.mean) and torch.equal(found.v, plain.v) and counted.sizes == [4, 4]


# -------------------------------------------------------------------------------------------------- thresholds


def test_thresholds_keep_to_limits_of_each_channel():
    """Black and white lie elsewhere in every channel; in units of the limits, thresholds are those of [-1, 1]."""
    low, high = torch.tensor([-2.0, -0.5]).view(1, 2, 1, 1).double(), torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).double()
    u = 1.5 * torch.randn(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x_0 = (low + high) / 2 + u * (high - low) / 2
    for threshold in (StaticThreshold, DynamicThreshold):
        found = threshold(lambda x_t, t, c: x_0, low=low, high=high)(x_0, 0.5)
        usual = threshold(lambda x_t, t, c: u)(u, 0.5)
        torch.testing.assert_close(found, (low + high) / 2 + usual * (high - low) / 2)
        assert (found >= low - 1e-12).all() and (found <= high + 1e-12).all()
