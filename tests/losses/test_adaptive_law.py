"""Laws of t that learn: they change the noise of a loss, never its expectation; their state is saved."""

import pytest
import torch
from stand_ins import name, numbers, seeded

from undiffuse.core.modules import built, modules
from undiffuse.loss.adaptive import Adaptive, Importance
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.draws import Stratified
from undiffuse.loss.integral import FlowMatching, Integral
from undiffuse.loss.time import log_snr_decay
from undiffuse.process import Cosine, Flow

SCHEDULE = Cosine()
RANGE = (-8.0, 8.0)


def profile(log_snr):
    """A loss per log-SNR, uneven over two orders of magnitude, that ends with the data."""
    return (0.05 + 5 * (-0.5 * (log_snr - 2) ** 2).exp()) * (8 - log_snr).sigmoid()


def integrand(t):
    return profile(SCHEDULE.log_snr(t)) * log_snr_decay(SCHEDULE, t)


def teach(law, steps=150):
    for step in range(steps):
        t = law.sample(256, seeded(step), SCHEDULE)
        law.update(t, integrand(t) * law.importance(t, SCHEDULE), SCHEDULE)
    return law


def estimates(law, count=200):
    times = [law.sample(32, seeded(10_000 + step), SCHEDULE) for step in range(count)]
    return torch.stack([(integrand(t) * law.importance(t, SCHEDULE)).mean() for t in times])


def test_adaptive_finds_the_profile():
    law = teach(Adaptive(bins=50, log_snr_range=RANGE).build())
    centres = RANGE[1] - (torch.arange(50) + 0.5) / 50 * (RANGE[1] - RANGE[0])
    wanted = profile(centres) / profile(centres).sum()
    wanted = torch.lerp(wanted, torch.full_like(wanted, 1 / 50), law.design.explore)
    torch.testing.assert_close(law.probs(), wanted.double(), rtol=0.15, atol=0)


def test_importance_finds_the_root_mean_square():
    def noisy(t):
        return 1 + 9 * (t > 0.5)

    law = Importance(bins=10, history=10).build()
    for step in range(100):
        t = law.sample(64, seeded(step), SCHEDULE)
        law.update(t, noisy(t) * law.importance(t, SCHEDULE), SCHEDULE)
    torch.testing.assert_close(law.probs()[:5], torch.full((5,), (1 / 55) * 0.999 + 0.0001).double(), rtol=1e-6, atol=0)


def test_an_edge_belongs_to_the_bin_below_it_to_rounding():
    edges = torch.arange(1, 11) / numbers(10)
    for off in (-1e-12, 0.0, 1e-12):
        assert Importance(bins=10).bin(edges + off).equal(torch.arange(10))
    assert Importance(bins=10).bin(edges[:-1] + 1e-8).equal(torch.arange(1, 10))


def test_importance_is_uniform_until_it_knows_every_bin():
    law = Importance(bins=4, history=2).build()
    law.update(numbers(0.1, 0.3, 0.6, 0.9, 0.1, 0.3, 0.6), numbers(1, 2, 3, 4, 1, 2, 3), SCHEDULE)
    assert law.probs().equal(torch.full((4,), 0.25).double())
    law.update(numbers(0.9), numbers(4), SCHEDULE)
    torch.testing.assert_close(law.probs(), torch.lerp(numbers(0.1, 0.2, 0.3, 0.4), numbers(*[0.25] * 4), 0.001))


def test_importance_remembers_the_last_losses_also_of_one_batch():
    law = Importance(bins=1, history=3).build()
    law.update(numbers(*[0.5] * 7), torch.arange(7).double(), SCHEDULE)
    assert sorted(law.losses[0].tolist()) == [4, 5, 6]
    law.update(numbers(0.5), numbers(9), SCHEDULE)
    assert sorted(law.losses[0].tolist()) == [5, 6, 9]


@pytest.mark.parametrize(
    "law", [Importance(bins=40, history=5).build(), Adaptive(bins=40, log_snr_range=RANGE).build()], ids=name
)
def test_the_expectation_stays_and_the_variance_falls(law):
    before = estimates(law)
    after = estimates(teach(law, 80))
    reach = (0.0, 1.0) if isinstance(law.design, Importance) else SCHEDULE.time(numbers(*RANGE[::-1])).tolist()
    t = reach[0] + (reach[1] - reach[0]) * (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    truth = float(integrand(t).mean()) * (reach[1] - reach[0])
    assert after.mean() == pytest.approx(truth, abs=5 * float((after.var() / len(after)).sqrt()))
    assert after.var() < 0.5 * before.var()


@pytest.mark.parametrize(
    "make", [lambda: Importance(bins=6, history=2).build(), lambda: Adaptive(bins=6).build()], ids=["imp", "ada"]
)
def test_state_round_trips(make):
    law, other = teach(make(), 20), make()
    assert not law.probs().equal(other.probs())
    other.load_state_dict(law.state_dict())
    assert law.probs().equal(other.probs())
    assert law.sample(9, seeded(), SCHEDULE).equal(other.sample(9, seeded(), SCHEDULE))


def test_a_law_of_times_stays_on_the_host_in_float64():
    law = teach(Adaptive(bins=6).build(), 5)
    before = law.probs()
    torch.nn.ModuleList([law]).half().to("meta")
    assert law.probs().equal(before) and law.total.dtype == torch.float64


def test_a_loss_lends_its_learning_parts():
    law = Adaptive().build()
    assert list(modules(Denoising(law))) == [law] and list(modules(Denoising())) == []


def test_what_is_described_is_built_anew_and_all_alike_until_then():
    plain = Denoising(Adaptive(bins=6), Integral(FlowMatching()))
    one, other = built(plain), built(plain)
    teach(one.time, 5)
    assert plain == Denoising(Adaptive(bins=6), Integral(FlowMatching())) and built(Denoising()) == Denoising()
    assert not one.time.probs().equal(other.time.probs()) and other.weight is plain.weight
    assert plain.time.sample(9, seeded(), SCHEDULE).equal(other.time.sample(9, seeded(), SCHEDULE))
    assert plain.time.density(numbers(0.5), SCHEDULE).equal(other.time.density(numbers(0.5), SCHEDULE))


def test_a_bad_loss_does_not_poison_the_law():
    law = teach(Adaptive(bins=6).build(), 5)
    law.update(numbers(0.5), numbers(float("nan")), SCHEDULE)
    assert law.probs().isfinite().all() and (law.sample(100, seeded(), SCHEDULE) <= 1).all()


def test_adaptive_stops_where_the_schedule_does():
    law = Adaptive(log_snr_range=(-30.0, 30.0), draws=Stratified()).build()
    t = law.sample(3000, seeded(), SCHEDULE)
    assert SCHEDULE.log_snr(t).min() >= -20 and t.unique().numel() == 3000
    assert Flow().log_snr(law.sample(3000, seeded(), Flow())).min() == pytest.approx(-30, abs=0.1)
