"""Rows of which some is given: with an exact denoiser, what is drawn follows the conditional law exactly."""

import math
from dataclasses import replace

import pytest
import torch
from conditioned import mixed
from scipy.stats import kstest
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.denoiser.known import Known
from undiffuse.denoiser.prediction import V
from undiffuse.loss.mixed import MixedLoss
from undiffuse.loss.time import Uniform
from undiffuse.net.table import TableMLP
from undiffuse.process import ABSORBING, Affine, Categorical, Cosine, Fading
from undiffuse.process.mixed import Mixed, MixedBelief, RowShape
from undiffuse.recipes import RECIPES
from undiffuse.sampling.grid import trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral

PROCESS = Mixed(1, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2, torch.float64))
JOINT = torch.tensor([[0.4, 0.1], [0.15, 0.35]]).double()  # P(a, b)
MEANS, STD = torch.tensor([[-1.0, 0.0], [0.5, 1.5]]).double(), 0.4
COUNT = 4000


def exact(x_t: Tensor, t: float, conditions: None, given: Tensor) -> MixedBelief:
    """E[number | x_t], and each token's law, by the four cases; a given number is without noise."""
    y, tokens = PROCESS.parts(x_t)
    alpha, sigma, _ = PROCESS.schedule.at(t)
    alpha, sigma = (torch.where(given, one, other)[:, :, None] for one, other in ((1.0, alpha), (0.0, sigma)))
    spread = (alpha * STD) ** 2 + sigma**2
    logits = JOINT.log() - 0.5 * (y[:, :, None] - alpha * MEANS) ** 2 / spread
    for axis in (1, 2):
        token = tokens[:, axis - 1].view(-1, 1, 1)
        classes = torch.arange(2).view([1, -1, 1] if axis == 1 else [1, 1, -1])
        logits = torch.where((token == 2) | (token == classes), logits, -math.inf)
    weights = logits.flatten(1).softmax(1).view_as(logits)
    means = MEANS + alpha * STD**2 / spread * (y[:, :, None] - alpha * MEANS)
    mean = torch.where(given, y, (weights * means).sum((1, 2))[:, None])
    return MixedBelief(mean, torch.stack([weights.sum(2), weights.sum(1)], 1).log())


def drawn(x_0: list[float], known: list[bool], ruled_out: Tensor | None = None) -> Tensor:
    row, fixed = torch.tensor([x_0]).double().expand(COUNT, -1), torch.tensor([known]).expand(COUNT, -1)
    noise, times = SeededNoise(0), trailing(PROCESS.schedule, 60)
    denoise = Known(exact, PROCESS, row, fixed, ruled_out)
    return last(trajectory(Ancestral(PROCESS), denoise, PROCESS.start(row, noise, times[0]), times, noise))


def shares(x: Tensor) -> Tensor:
    a, b = x[:, 1].long(), x[:, 2].long()
    return (2 * a + b).bincount(minlength=4).view(2, 2) / len(x)


def test_given_a_category():
    x = drawn([0, 1, 0], [False, True, False])
    assert (x[:, 1] == 1).all()
    assert abs(float(x[:, 2].mean()) - 0.7) < 0.025
    assert abs(float(x[:, 0].mean()) - float(0.3 * 0.5 + 0.7 * 1.5)) < 0.04


def test_given_a_number():
    x = drawn([0.3, 0, 0], [True, False, False])
    torch.testing.assert_close(x[:, 0], torch.full_like(x[:, 0], 0.3))
    law = JOINT * torch.exp(-0.5 * ((0.3 - MEANS) / STD) ** 2)
    assert (shares(x) - law / law.sum()).abs().max() < 0.03


def test_given_all_but_the_number():
    x = drawn([0, 1, 1], [False, True, True])
    assert kstest(((x[:, 0] - 1.5) / STD).numpy(), "norm").statistic < 0.05


def test_given_nothing():
    assert (shares(drawn([0, 0, 0], [False] * 3)) - JOINT).abs().max() < 0.03


def test_given_what_a_category_is_not():
    ruled_out = torch.zeros(COUNT, 2, 2, dtype=torch.bool)
    ruled_out[:, 0, 0] = True
    x = drawn([0, 0, 0], [False] * 3, ruled_out)
    assert (x[:, 1] == 1).all()


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("shape", [RowShape(2, (3, 2)), RowShape(2, ()), RowShape(0, (3, 4))])
def test_the_network_learns_rows_of_any_parts_and_is_told_what_is_given(shape):
    torch.manual_seed(0)
    categorical = Categorical(Fading(), ABSORBING, max(shape.classes, default=1))
    process = Mixed(shape.numbers, Affine(Cosine()), categorical)
    denoiser = mixed(TableMLP(width=16, depth=1), shape, process)
    tokens = torch.stack([torch.arange(8) % k for k in shape.classes], 1) if shape.classes else torch.zeros(8, 0)
    x_0 = torch.cat([torch.randn(8, shape.numbers), tokens], 1)
    loss = MixedLoss()(denoiser, x_0, Stream())
    loss.mean().backward()
    assert loss.shape == (8,) and loss.isfinite().all()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in denoiser.parameters())
    for k, classes in enumerate(shape.classes):
        assert (denoiser(x_0, 0.5).logits[:, k, classes:] == -math.inf).all()
    given = torch.ones(8, shape.numbers, dtype=torch.bool)
    assert torch.equal(denoiser(x_0, 0.5, given=given).mean, x_0[:, : shape.numbers])


class Sees:
    """A denoiser that says nothing, and remembers which entries it was given, where all else is lost."""

    prediction = V()

    def __init__(self, numbers: int) -> None:
        self.process = Mixed(numbers, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2))

    def joined(self, x_0: Tensor, conditions: None) -> Tensor:
        return x_0

    def not_drawn(self, conditions: None) -> None:
        return None

    def output(self, x_t: Tensor, t: Tensor, conditions: None, given: Tensor) -> tuple[Tensor, Tensor]:
        numbers, tokens = self.process.parts(x_t)
        self.given = torch.cat([given, tokens < 2], 1)
        return torch.zeros_like(numbers), torch.zeros(*tokens.shape, 2)


def given(numbers: int, tokens: int, **fields: float | bool) -> tuple[Tensor, Tensor]:
    """Which entries of 40,000 rows are given, (rows, entries) bool, and their losses."""
    denoiser = Sees(numbers)
    x_0 = torch.ones(40_000, numbers + tokens)
    loss = MixedLoss(Uniform(start=0.99999), **fields)(denoiser, x_0, Stream())  # type: ignore[arg-type]
    return denoiser.given, loss


def test_a_picture_or_its_label_is_given_alone():
    """Of the share, each to a third of the rows, and to the last third nothing: no row is without a question."""
    rows, losses = given(3, 1, share=0.6, whole=True)
    picture, label = rows[:, :3], rows[:, 3]
    assert (picture.all(1) == picture.any(1)).all()
    assert not (picture[:, 0] & label).any() and (losses > 0).all()
    for alone in (picture[:, 0], label):
        assert abs(float(alone.double().mean()) - 0.2) < 0.01


@pytest.mark.parametrize("numbers", [2, 0])
def test_of_more_things_any_number_but_all_is_given(numbers):
    """Of a picture and two tokens, or of three tokens: none, one and two of them, the last also for three."""
    rows, _ = given(numbers, 3 - bool(numbers), share=1.0, whole=True)
    things = rows[:, 1:] if numbers else rows
    for count, share in enumerate((0.25, 0.25, 0.5, 0.0)):
        assert abs(float((things.sum(1) == count).double().mean()) - share) < 0.01
    assert (things.double().mean(0) - 1.25 / 3).abs().max() < 0.01


def test_of_a_table_any_number_of_columns_is_given():
    rows, losses = given(2, 2, share=1.0)
    for count in range(5):
        assert abs(float((rows.sum(1) == count).double().mean()) - 0.2) < 0.01
    assert ((losses == 0) == rows.all(1)).all()


@pytest.mark.parametrize("recipe", ["table", "digits-joint"])
def test_times_are_uniform(recipe):
    """A law that learns, or that prefers some times, is refused: the two parts would count them differently."""
    recipe = RECIPES[recipe]()
    assert recipe.override("loss.time.start", "0.01").model.loss.time == replace(recipe.model.loss.time, start=0.01)
    for law in ("adaptive", "importance", "log-normal"):
        with pytest.raises(UserError, match="known: uniform"):
            recipe.override("loss.time", law)


def test_what_is_given_is_not_asked_for():
    """With everything given the loss is 0; with nothing, the untrained network's is the entropy of even guesses."""
    shape = RowShape(0, (2,))
    process = Mixed(0, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2))
    denoiser = mixed(TableMLP(width=8, depth=1), shape, process)
    x_0 = torch.randint(2, (4096, 1), generator=torch.Generator().manual_seed(0)).float()
    nothing = MixedLoss(share=0.0)(denoiser, x_0, SeededNoise(0))
    assert abs(nothing.mean().item() - math.log(2)) < 0.1
    assert MixedLoss(share=1.0)(denoiser, x_0, SeededNoise(0)).mean() < nothing.mean()


def test_a_token_that_is_not_known_is_never_asked_for():
    """In x_0 itself it is the mask, which no class is: the rows that have it count their other columns alone."""
    denoiser, x_0 = Off(3), torch.ones(64, 5, dtype=torch.float64)
    x_0[:, 3:] = denoiser.process.categorical.classes
    losses = MixedLoss(Uniform(start=0.05), 0.0)(denoiser, x_0, SeededNoise(0))
    torch.testing.assert_close(losses, torch.full_like(losses, (0.01 + 0.04 + 0.09) / 5), rtol=1e-5, atol=1e-6)


class Off(Sees):
    """A denoiser whose numbers are off by 0.1, 0.2, ... and whose tokens are guessed evenly; x_0 is all ones."""

    def output(self, x_t: Tensor, t: Tensor, conditions: None, given: Tensor) -> tuple[Tensor, Tensor]:
        super().output(x_t, t, conditions, given)
        self.t = t
        alpha, sigma, _ = (part[:, None] for part in self.process.schedule.at(t))
        numbers, _ = self.process.parts(x_t)
        z = (numbers - alpha) / sigma
        off = 0.1 * torch.arange(1, 1 + numbers.shape[1])
        return alpha * z - sigma + off, torch.zeros(*self.given[:, self.process.numbers :].shape, 2)


@pytest.mark.parametrize("whole", [False, True])
def test_every_column_counts_once_and_so_does_a_picture(whole):
    """Numbers by their squared error, a mask by -a'/(1 - a) for every nat that names it: exactly, row by row."""
    denoiser = Off(3)
    losses = MixedLoss(Uniform(start=0.05), 0.0, whole)(
        denoiser, torch.ones(64, 5, dtype=torch.float64), SeededNoise(0)
    )
    kept = lambda t: denoiser.process.categorical.schedule.at(t).alpha ** 2  # noqa: E731
    rate = (kept(denoiser.t - 1e-6) - kept(denoiser.t + 1e-6)) / 2e-6 * (1 - 0.05)  # times are drawn from (.05, 1)
    nats = (~denoiser.given[:, 3:]).sum(1) * math.log(2) * rate / (1 - kept(denoiser.t))
    squares = torch.tensor([0.01, 0.04, 0.09]).double()
    expected = (squares.mean() + nats) / 3 if whole else (squares.sum() + nats) / 5
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    assert nats.unique().numel() > 10
