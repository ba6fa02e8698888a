"""The mixed process: each half as it is alone, and the two together where numbers and tokens depend on each other."""

import math

import pytest
import torch
from conditioned import labels
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import X0
from undiffuse.process import ABSORBING, Affine, Categorical, Cosine, Fading
from undiffuse.process.mixed import Mixed, MixedBelief, RowShape
from undiffuse.sampling.grid import log_snr_uniform, trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral
from undiffuse.theory.likelihood import bound

PROCESS = Mixed(1, Affine(Cosine()), Categorical(Fading(), ABSORBING, 2, torch.float64))
WEIGHTS, MEANS, STD = torch.tensor([0.3, 0.7]).double(), torch.tensor([-1.0, 1.0]).double(), 0.3


def exact(x_t: Tensor, t: float) -> MixedBelief:
    """A token k ~ WEIGHTS and a number ~ N(MEANS[k], STD^2): x_t shows the number in noise, and perhaps the token."""
    y, token = PROCESS.parts(x_t)
    alpha, sigma, _ = PROCESS.schedule.at(t)
    spread = (alpha * STD) ** 2 + sigma**2
    logits = WEIGHTS.log() - 0.5 * (y - alpha * MEANS) ** 2 / spread
    logits = torch.where((token == 2) | (token == torch.arange(2)), logits, -math.inf)
    means = MEANS + alpha * STD**2 / spread * (y - alpha * MEANS)
    return MixedBelief((logits.softmax(1) * means).sum(1, keepdim=True), logits[:, None])


def data(count: int) -> Tensor:
    noise = SeededNoise(7)
    token = (noise.uniform(torch.zeros(count, 1).double()) > WEIGHTS[0]).long()
    return torch.cat([MEANS[token] + STD * noise.normal(torch.zeros(count, 1).double()), token.double()], 1)


def test_each_half_is_what_it_is_alone():
    x_0, (t, s) = data(16), (0.6, 0.3)
    x_t = PROCESS.corrupt(x_0, t, SeededNoise(0))
    numbers, tokens = PROCESS.parts(x_0)
    assert x_t.shape == x_0.shape and set(x_t[:, 1].tolist()) <= {0.0, 1.0, 2.0}
    law, wrong = PROCESS.posterior(x_t, x_0, t, s), PROCESS.posterior(x_t, exact(x_t, t), t, s)
    halves = [
        (process.posterior(part, known, t, s), process.posterior(part, believed, t, s))
        for process, part, known, believed in zip(
            (PROCESS.gaussian, PROCESS.categorical), PROCESS.parts(x_t), (numbers, tokens), exact(x_t, t), strict=True
        )
    ]
    torch.testing.assert_close(law.kl(wrong), sum(known.kl(believed) for known, believed in halves))
    x_s = law.sample(SeededNoise(1))
    by_halves = sum(known.log_prob(part) for (known, _), part in zip(halves, PROCESS.parts(x_s), strict=True))
    torch.testing.assert_close(law.log_prob(x_s), by_halves)


def joined(halves: list[Tensor]) -> Tensor:
    return torch.cat([half.double() for half in halves], 1)


def near(x: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(x, truth, rtol=1e-12, atol=1e-12)


def test_every_law_is_the_two_halves_laws():
    """Of two numbers and three tokens; noise is drawn by the numbers first."""
    numbers, tokens = Affine(Cosine(), sigma_data=0.5), Categorical(Fading(), ABSORBING, 3, torch.float64)
    process, t, s = Mixed(2, numbers, tokens), 0.6, 0.3
    x, a = torch.tensor([[0.3, -1.0], [1.2, 0.1]]).double(), torch.tensor([[0, 2, 1], [1, 1, 0]])
    x_0 = torch.cat([x, a.double()], 1)
    hidden = torch.where(torch.tensor([True, False, True]), 3, a)
    x_t, mean, logits = torch.cat([x + 1, hidden.double()], 1), 0.5 * x, torch.randn(2, 3, 3).double()
    belief = MixedBelief(mean, logits)
    for law, one, other in (
        (process.marginal(x_0, t), numbers.marginal(x, t), tokens.marginal(a, t)),
        (process.prior(x_0, s), numbers.prior(x, s), tokens.prior(a, s)),
        (process.prior(x_0), numbers.prior(x), tokens.prior(a)),
        (process.posterior(x_t, x_0, t, s), numbers.posterior(x + 1, x, t, s), tokens.posterior(hidden, a, t, s)),
        (
            process.posterior(x_t, belief, t, s),
            numbers.posterior(x + 1, mean, t, s),
            tokens.posterior(hidden, logits, t, s),
        ),
        (process.decoder(x_t, belief, s), numbers.decoder(x + 1, mean, s), tokens.decoder(hidden, logits, s)),
    ):
        drawn, noise = law.sample(SeededNoise(1)), SeededNoise(1)
        halves = [one.sample(noise), other.sample(noise)]
        near(drawn, joined(halves))
        torch.testing.assert_close(law.log_prob(drawn), one.log_prob(halves[0]) + other.log_prob(halves[1]))
    noise = SeededNoise(2)
    lost = joined([numbers.corrupt(x, t, noise), tokens.corrupt(a, t, noise)])
    near(process.corrupt(x_0, t, SeededNoise(2)), lost)
    noise = SeededNoise(2)
    near(process.start(x_0, SeededNoise(2)), joined([numbers.start(x, noise), tokens.start(a, noise)]))
    shown = process.shown(x_t, t)
    torch.testing.assert_close(shown, torch.cat([numbers.input_scale(t) * (x + 1), hidden.double()], 1))
    assert process.input_scale(t) == numbers.input_scale(t) and process.level(t) == numbers.level(t)
    assert process.schedule is numbers.schedule and process.blank(4, (5,), torch.device("cpu")).shape == (4, 5)


def test_what_is_known_of_a_row_is_known_of_both_halves():
    process = Mixed(1, Affine(Cosine()), Categorical(Fading(), ABSORBING, 3))
    x_0, x_t = torch.tensor([[0.3, 1.0, 2.0]]), torch.tensor([[0.9, 3.0, 3.0]])
    for known in ((True, False, True), (False, True, False)):
        mask = torch.tensor([known])
        assert torch.equal(process.reveal(x_t, x_0, mask), torch.where(mask, x_0, x_t))
        assert process.hints(mask)["given"].tolist() == [[known[0]]]
        settled = process.settle(MixedBelief(torch.zeros(1, 1), torch.zeros(1, 2, 3)), x_0, mask)
        assert float(settled.mean) == pytest.approx(0.3 if known[0] else 0.0)
        for token, (there, value) in enumerate(zip(known[1:], (1, 2), strict=True)):
            sure = torch.nn.functional.one_hot(torch.tensor(value), 3).float()
            assert torch.equal(settled.logits[0, token].softmax(-1), sure if there else torch.full((3,), 1 / 3))


def test_a_rows_shape_knows_its_parts():
    shape = RowShape(2, [3, 4], ["label"])
    assert shape == (4,) and (shape.numbers, shape.classes, shape.drawn) == (2, (3, 4), ("label",))
    assert RowShape(2, [3]).drawn == ()


class Told(nn.Module):
    """A network of rows, and its encoder: each remembers what it is given; every number is 1, every class alike."""

    def forward(self, numbers: Tensor, given: Tensor, tokens: Tensor, routes: Tensor) -> tuple[Tensor, Tensor]:
        self.numbers, self.given, self.tokens = numbers, given, tokens
        return torch.ones_like(numbers), torch.zeros(*tokens.shape, 3)

    def encode(self, level: Tensor, conditions: Conditions | None) -> Tensor:
        self.level, self.conditions = level, conditions
        return level


def told(drawn: tuple[str, ...]) -> tuple[Told, MixedDenoiser]:
    net, process = Told(), Mixed(2, Affine(Cosine(), sigma_data=0.5), Categorical(Fading(), ABSORBING, 3))
    return net, MixedDenoiser(net, process, X0(), net.encode, drawn)


X_T = torch.tensor([[0.3, -1.0, 2.0, 3.0, 3.0], [1.2, 0.1, 3.0, 3.0, 0.0]])  # two numbers, three tokens


@pytest.mark.parametrize("given", [None, torch.tensor([[True, False], [False, False]])])
@pytest.mark.parametrize("drawn", [(), ("a", "b")])
def test_a_network_sees_numbers_of_unit_variance_but_those_that_are_given_as_they_are(given, drawn):
    net, denoiser = told(drawn)
    belief = denoiser(X_T, 0.6, None, given)
    numbers, mask = X_T[:, :2], torch.zeros(2, 2, dtype=torch.bool) if given is None else given
    assert torch.equal(net.given, mask) and torch.equal(net.tokens, X_T[:, 2:].long())
    torch.testing.assert_close(net.numbers, torch.where(mask, numbers, denoiser.process.input_scale(0.6) * numbers))
    assert net.conditions is None and float(net.level) == pytest.approx(denoiser.process.schedule.at(0.6).log_snr)
    assert torch.equal(belief.mean, torch.where(mask, numbers, 1.0)) and not belief.logits.any()


@pytest.mark.parametrize("given", [None, torch.tensor([[True, False], [False, False]])])
def test_conditions_that_are_drawn_are_the_last_tokens_given_where_they_are_present(given):
    net, denoiser = told(("a", "b"))
    asked = labels(a=torch.tensor([1, -1]), b=torch.tensor([-1, 2]), c=torch.tensor([0, 1]))
    belief = denoiser(X_T, 0.6, asked, given)
    assert torch.equal(net.tokens, torch.tensor([[2, 1, 3], [3, 3, 2]]))  # where absent, as they are in x_t
    assert torch.equal(net.given, torch.zeros(2, 2, dtype=torch.bool) if given is None else given)
    assert list(net.conditions.entries) == list(denoiser.not_drawn(asked).entries) == ["c"]
    classes = belief.logits.softmax(-1)
    for row, token, sure in ((0, 1, [0.0, 1.0, 0.0]), (1, 2, [0.0, 0.0, 1.0])):
        assert classes[row, token].tolist() == sure
        classes[row, token] = 1 / 3
    torch.testing.assert_close(classes, torch.full_like(classes, 1 / 3))
    assert torch.equal(denoiser.joined(X_T, asked)[:, 2:], torch.tensor([[2.0, 1.0, 3.0], [3.0, 3.0, 2.0]]))
    assert denoiser.joined(X_T, None) is X_T and denoiser.not_drawn(None) is None
    _, alone = told(())
    assert alone.joined(X_T, asked) is X_T and alone.not_drawn(asked) is asked


def test_sampling_draws_numbers_and_tokens_that_belong_together():
    count, noise = 4000, SeededNoise(0)
    start = PROCESS.start(torch.zeros(count, 2).double(), noise)
    x = last(trajectory(Ancestral(PROCESS), exact, start, trailing(PROCESS.schedule, 60), noise))
    numbers, tokens = x.unbind(1)
    assert abs(float(tokens.mean()) - 0.7) < 0.03
    for k in (0, 1):
        mine = numbers[tokens == k]
        assert abs(float(mine.mean()) - MEANS[k]) < 0.05 and abs(float(mine.std()) - STD) < 0.04


def test_the_bound_comes_down_to_the_exact_likelihood():
    """-log p(number, token), by the same bound as every other process; its gap falls with the steps."""
    x_0 = data(1000)
    token = x_0[:, 1].long()
    normal = -0.5 * ((x_0[:, 0] - MEANS[token]) / STD) ** 2 - math.log(STD * math.sqrt(2 * math.pi))
    truth = float(-(WEIGHTS[token].log() + normal).mean())
    grids = [(1.0, *log_snr_uniform(PROCESS.schedule, steps)) for steps in (30, 120, 480)]
    gaps = [float(bound(PROCESS, exact, x_0, grid, SeededNoise(3)).total.mean()) - truth for grid in grids]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0 and gaps[2] < 0.3
