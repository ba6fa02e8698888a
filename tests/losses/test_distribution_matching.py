"""Distribution matching: what a generator makes follows the difference of two scores to the data."""

import pytest
import torch
from exact_jumps import MEAN, STD, draw, gaussian, jumps
from stand_ins import seeded
from torch import nn

from undiffuse.condition.encoder import Encoder
from undiffuse.core.errors import UserError
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.denoiser.prediction import V
from undiffuse.loss.distribution_matching import DistributionMatching
from undiffuse.loss.few_step import Teacher
from undiffuse.net import MLP
from undiffuse.process import Affine, Cosine


class Line(nn.Module):
    """A generator a z + b."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (a, b))
        self.process = Affine(Cosine())

    def forward(self, x_t, t, conditions=None):
        return self.a * x_t + self.b

    def adopt(self, other):
        pass


def teacher():
    """Of N(MEAN, STD^2), with a network to begin with."""
    torch.manual_seed(0)
    encoder, exact = Encoder({}, 8), gaussian(Cosine())
    net = MLP(width=8, depth=1, waves=0, embedding=8).build((1,), encoder.widths, 1).double()
    denoiser = Denoiser(net, exact.process, V(), encoder=encoder.double())
    return Teacher(lambda x_t, t, conditions=None: exact(x_t, t), exact.process, denoiser)


@pytest.mark.parametrize("start", [(0.2, -0.5), (1.0, 2.0)])
def test_an_affine_generator_comes_to_rest_at_the_mean_and_spread_of_the_data(start):
    """With an exact fake denoiser, of N(b, a^2)."""
    line = Line(*start)
    loss = DistributionMatching(critic=1).begin(line, teacher(), 1)
    loss.learn = lambda *_: 0.0
    del loss.fake
    noise, optimizer = seeded(), torch.optim.Adam(line.parameters(), lr=0.03)
    for step in range(300):
        made = gaussian(Cosine(), line.b.item(), abs(line.a.item()))
        loss.fake = made
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 300)
        optimizer.zero_grad()
        loss(line, torch.empty(256, 1, dtype=torch.float64), noise).mean().backward()
        optimizer.step()
    assert line.b.item() == pytest.approx(MEAN, abs=0.02) and abs(line.a.item()) == pytest.approx(STD, abs=0.02)


def test_the_generators_gradient_is_the_direction():
    line = Line(0.5, 0.1)
    loss = DistributionMatching(critic=1).begin(line, teacher(), 1)
    loss.learn = lambda *_: 0.0
    like, noise = torch.empty(8, 1, dtype=torch.float64), seeded()
    loss(line, like, noise).sum().backward()
    noise = seeded()
    z, t = loss.seen(line, like, noise, None)
    direction = loss.direction(0.5 * z + 0.1, noise, None)
    assert t == 1.0 and direction.abs().min() > 0
    assert torch.allclose(line.b.grad, direction.sum()) and torch.allclose(line.a.grad, (direction * z).sum())


def test_the_fake_denoiser_learns_at_every_step_and_the_generator_at_every_third():
    line = Line(0.5, 0.1)
    loss = DistributionMatching(critic=3).begin(line, teacher(), 1)
    turns = []
    for _ in range(5):
        line.zero_grad(), loss.zero_grad()
        loss(line, draw(8), seeded()).mean().backward()
        assert all(weight.grad is not None for weight in loss.fake.parameters())
        turns.append(line.a.grad is not None)
    assert turns == [True, False, False, True, False]


def test_the_fake_denoiser_is_taught_what_the_generator_makes():
    line, point = Line(0.0, 1.5), teacher()
    loss = DistributionMatching(critic=1000).begin(line, point, 1)
    optimizer = torch.optim.Adam(loss.fake.parameters(), lr=0.02)
    noise = seeded()
    for _ in range(300):
        optimizer.zero_grad()
        loss(line, draw(64), noise).mean().backward()
        optimizer.step()
    x, t = torch.zeros(4, 1).double(), torch.tensor([0.4, 0.6, 0.8, 0.9]).double()
    x_t = Cosine().at(t).alpha[:, None] * 1.5 + x
    assert (loss.fake(x_t, t) - 1.5).abs().max() < 0.15


def test_a_generator_of_several_steps_sees_what_its_own_steps_make():
    """With exact jumps, that is what the process makes of the data."""
    loss = DistributionMatching(evaluations=3).begin(jumps(Cosine()), teacher(), 1)
    like, noise, seen = torch.empty(20_000, 1, dtype=torch.float64), seeded(), {}
    for _ in range(12):
        x_t, t = loss.seen(jumps(Cosine()), like, noise, None)
        seen[t] = x_t
    assert sorted(seen) == sorted(loss.times[:-1]) and len(seen) == 3
    for t, x_t in seen.items():
        alpha, sigma, _ = Cosine().at(t)
        assert x_t.mean().item() == pytest.approx(alpha * MEAN, abs=0.03)
        assert x_t.var().item() == pytest.approx(alpha**2 * STD**2 + sigma**2, rel=0.05)


def test_what_makes_no_sense_is_refused():
    for wrong in [{"evaluations": 0}, {"critic": 0}]:
        with pytest.raises(UserError):
            DistributionMatching(**wrong)
    with pytest.raises(UserError, match="needs a teacher"):
        DistributionMatching().begin(Line(1.0, 0.0), None, 1)
