"""A law of t is what it says: its density integrates to one, and its draws follow it."""

from itertools import pairwise

import pytest
import torch
from scipy.stats import kstest
from stand_ins import SCHEDULES, name, numbers, seeded

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.loss.adaptive import Adaptive, Importance
from undiffuse.loss.draws import Antithetic, Independent, LowDiscrepancy, Stratified
from undiffuse.loss.time import LogitNormal, LogNormal, Symmetric, Uniform, log_snr_decay
from undiffuse.process import Cosine, Flow, LogLinear

DRAWS = [Independent(), Stratified(), LowDiscrepancy(), Antithetic()]


def taught(law):
    """A learning law that has seen an uneven profile."""
    for step in range(60):
        t = law.sample(64, seeded(step), Cosine())
        law.update(t, (1 + 5 * t**2) * law.importance(t, Cosine()), Cosine())
    return law


LAWS = [
    Uniform(),
    Uniform(start=0.1),
    LogNormal(),
    LogNormal(0.5, 2.0),
    LogitNormal(),
    LogitNormal(-0.5, 1.5),
    Symmetric(),
    taught(Importance(bins=20, history=3).build()),
    taught(Adaptive(bins=30, log_snr_range=(-6.0, 8.0)).build()),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
@pytest.mark.parametrize("law", LAWS, ids=name)
def test_density_integrates_to_the_share_of_draws(law, schedule):
    t = law.quantile(torch.linspace(0.02, 0.98, 9, dtype=torch.float64), schedule)
    fine = [torch.linspace(float(a), float(b), 20_001, dtype=torch.float64) for a, b in pairwise(t)]
    shares = torch.stack([torch.trapezoid(law.density(points, schedule), points) for points in fine])
    torch.testing.assert_close(shares, torch.full_like(shares, 0.12), rtol=2e-3, atol=0)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_all_of_it(law):
    """Nothing lies outside of the quantiles: the truncated law is normalised too."""
    schedule = LogLinear(sigma_max=1.0)  # cuts EDM's law in half
    ends = law.quantile(numbers(1e-12, 1 - 1e-12), schedule)
    points = ends[0] * (ends[1] / ends[0]) ** torch.linspace(0, 1, 400_001, dtype=torch.float64)
    points = points.clamp(float(ends[0]), float(ends[1]))
    assert torch.trapezoid(law.density(points, schedule), points) == pytest.approx(1, abs=2e-3)
    assert ends[1] <= 1


@pytest.mark.parametrize("draws", DRAWS, ids=name)
def test_draws_are_uniform_and_inside(draws):
    u = torch.cat([draws(13, seeded(i)) for i in range(400)])
    assert len(draws(7, seeded())) == 7 and u.dtype == torch.float64
    assert ((u > 0) & (u < 1)).all()
    assert abs(u.mean() - 0.5) < 0.03 and abs(u.var() - 1 / 12) < 0.01
    assert kstest(u[torch.randperm(len(u), generator=torch.Generator().manual_seed(0))][:500], "uniform").pvalue > 1e-3


@pytest.mark.parametrize("draws", DRAWS, ids=name)
@pytest.mark.parametrize("end", [0.0, 1 - 2.0**-53])
def test_the_ends_are_never_drawn(draws, end):
    """Whatever the noise says: at 0 and at 1 some inverse is infinite."""

    class Ends:
        def uniform(self, like):
            return torch.full_like(like, end)

    u = draws(6, Ends())
    assert ((u > 0) & (u < 1)).all()


@pytest.mark.parametrize("draws", DRAWS, ids=name)
def test_processes_that_share_a_batch_draw_its_times(draws):
    """Spread over the whole of it, of which each takes its own rows."""
    whole = draws(6, seeded())
    for process in (0, 1):
        noise = Stream(torch.Generator().manual_seed(0), process, 2)
        assert torch.equal(draws(3, noise), whole[process::2])


@pytest.mark.parametrize("draws", DRAWS, ids=name)
def test_every_row_of_a_batch_has_uniform_times(draws):
    """So that rows that are sorted in some way are weighed as others are."""
    u = torch.stack([draws(5, seeded(i)) for i in range(500)])
    assert all(kstest(row, "uniform").pvalue > 1e-3 for row in u.T)


@pytest.mark.parametrize("draws", DRAWS[1:], ids=name)
def test_spread_draws_are_unbiased_with_less_variance(draws):
    def means(draws):
        return torch.stack([draws(16, seeded(i)).square().mean() for i in range(800)])

    spread, independent = means(draws), means(Independent())
    assert spread.var() < 0.3 * independent.var()
    assert abs(spread.mean() - 1 / 3) < 5 * (independent.var() / 800).sqrt()


def test_draws_depend_on_the_noise_alone():
    law = LogNormal(draws=Stratified())
    assert law.sample(8, seeded(3), Cosine()).equal(law.sample(8, seeded(3), Cosine()))
    assert not law.sample(8, seeded(3), Cosine()).equal(law.sample(8, seeded(4), Cosine()))


def test_discrete_times_are_each_as_likely():
    t = Uniform(steps=5, draws=Stratified()).sample(5000, seeded(), Cosine())
    values, counts = t.unique(return_counts=True)
    assert values.equal(torch.arange(1, 6) / numbers(5)) and (counts == 1000).all()
    t = Importance(bins=5, discrete=True).sample(500, seeded(), Cosine())
    assert set(t.tolist()) == set(values.tolist())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name)
def test_fall_is_the_slope_of_log_snr(schedule):
    t = numbers(0.2005, 0.5005, 0.8005)
    h = 1e-6
    slope = (schedule.log_snr(t - h) - schedule.log_snr(t + h)) / (2 * h)
    torch.testing.assert_close(log_snr_decay(schedule, t), slope, rtol=1e-6, atol=0)


def test_log_normal_is_edms_law_of_sigma():
    t = LogNormal(draws=Stratified()).sample(20_000, seeded(), Flow())
    log_sigma = -0.5 * Flow().log_snr(t)
    assert log_sigma.mean() == pytest.approx(-1.2, abs=1e-3) and log_sigma.std() == pytest.approx(1.2, abs=1e-3)


@pytest.mark.parametrize(
    "law",
    [
        lambda: Uniform(steps=0),
        lambda: Uniform(start=1.0),
        lambda: Uniform(steps=5, start=0.1),
        lambda: Importance(bins=0),
        lambda: Adaptive(log_snr_range=(1.0, 0.0)),
    ],
)
def test_impossible_laws_are_refused(law):
    with pytest.raises(UserError):
        law()
