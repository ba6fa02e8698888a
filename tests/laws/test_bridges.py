"""Bridges between Gaussians in closed form: their couplings, their processes, their steps."""

import math

import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.bridge import Backwards, Ends
from undiffuse.exact.bridge import GaussianBridge, TwoGaussians, schroedinger
from undiffuse.loss.bridging import Matching, targets
from undiffuse.loss.coupling import AsGiven, Entropic, OptimalTransport, entropic_plan, squared_distances, within
from undiffuse.process import Affine, Flow, GaussianNoise, Pinned, StoredRows
from undiffuse.process.pinned import SymmetricClock
from undiffuse.sampling.grid import slowing, trailing
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.bridge import BridgeStep
from undiffuse.step.ddim import DDIM, toward
from undiffuse.step.euler import Euler
from undiffuse.step.heun import Heun
from undiffuse.theory.transport import straightness

NOISE = SeededNoise(0)
UNPAIRED = TwoGaussians(m_0=-1.0, s_0=0.5, m_1=2.0, s_1=1.5, c=0.0)


def normal(count: int, seed: int, size: int = 1) -> torch.Tensor:
    return SeededNoise(seed).normal(torch.zeros(count, size, dtype=torch.float64))


def crossed(denoiser, step, x, steps, belief=False, grid=trailing):
    """Where x lands, as a sampler takes it."""
    ask = denoiser.belief if belief else denoiser
    return last(trajectory(step, ask, x, grid(denoiser.process.schedule, steps), SeededNoise(7)))


# ------------------------------------------------------------------------------------------------ couplings


@pytest.mark.parametrize(
    ("batch", "cost"), [(1, 2.0), (2, 2 * (1 - 1 / math.pi)), (4, 0.852), (16, 0.281), (64, 0.082), (256, 0.023)]
)
def test_the_cost_of_a_batch_on_the_line(batch, cost):
    """Of N(0, 1) with itself: the expected squared distance of sorted samples."""
    couple, found = OptimalTransport(), []
    for k in range(min(500, 4096 // batch)):
        x_0, x_1 = normal(batch, 2 * k + 1), normal(batch, 2 * k + 2)
        found.append((x_0 - x_1[couple(x_0, x_1, NOISE)]).square().mean())
    found = torch.stack(found)
    assert abs(found.mean() - cost) < 5 * found.std() / len(found) ** 0.5 + 1e-3


@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 9))
def test_the_plan_of_a_batch_is_a_permutation_of_least_cost(batch, size, seed):
    x_0, x_1 = normal(batch, 2 * seed, size), 3 * normal(batch, 2 * seed + 1, size)
    to = OptimalTransport()(x_0, x_1, NOISE)
    assert sorted(to.tolist()) == list(range(batch))
    least = ot.emd2([], [], squared_distances(x_0, x_1).numpy())
    assert math.isclose((x_0 - x_1[to]).square().sum(1).mean(), least, rel_tol=1e-9)


def test_the_entropic_plan_of_gaussians_on_a_grid_is_the_schroedinger_bridge_s():
    """Sinkhorn on the quantiles of two Gaussians: the covariance is the closed form's."""
    quantiles = torch.special.ndtri((torch.arange(600, dtype=torch.float64) + 0.5) / 600)[:, None]
    for s_0, s_1, sigma in ((1.0, 1.0, 1.0), (0.5, 1.5, 1.0), (1.0, 2.0, 0.7)):
        x_0, x_1 = s_0 * quantiles, s_1 * quantiles
        plan = entropic_plan(squared_distances(x_0, x_1), 2 * sigma**2)
        assert torch.allclose(plan.sum(0), torch.full((600,), 1 / 600, dtype=torch.float64), rtol=1e-3)
        assert abs((x_0 * plan * x_1.T).sum() - schroedinger(0, s_0, 0, s_1, sigma).c) < 0.005 * s_0 * s_1


def log_mixture(x, weights, means, stds):
    """log density (points,) of a mixture on the line."""
    parts = torch.distributions.Normal(torch.tensor(means).double(), torch.tensor(stds).double()).log_prob(x[:, None])
    return torch.logsumexp(parts + torch.tensor(weights).double().log(), 1)


def test_the_entropic_plan_of_mixtures_is_sinkhorn_s_on_a_grid():
    """Neither end is Gaussian. Rows of a batch stand for a distribution, nodes of a grid have its density."""
    of = ([0.3, 0.7], [-1.5, 0.5], [0.3, 0.2]), ([0.5, 0.5], [-1.0, 1.5], [0.2, 0.4])
    nodes = torch.linspace(-4, 4, 501, dtype=torch.float64)
    log_0, log_1 = (log_mixture(nodes, *end).log_softmax(0) for end in of)
    rows = []
    for weights in (log_0, log_1):  # 800 quantiles
        place = torch.searchsorted(weights.exp().cumsum(0), (torch.arange(800, dtype=torch.float64) + 0.5) / 800)
        rows.append(nodes[place][:, None])
    for sigma in (0.3, 1.0):
        cost = (nodes[:, None] - nodes) ** 2 / (2 * sigma**2)
        f = g = torch.zeros_like(nodes)
        for _ in range(100):
            f = -torch.logsumexp(g + log_1 - cost, 1)
            g = -torch.logsumexp((f + log_0)[:, None] - cost, 0)
        exact = ((f + log_0)[:, None] + g + log_1 - cost).exp()
        plan = entropic_plan(squared_distances(*rows), 2 * sigma**2)
        for power in (1, 2):
            found = (rows[0] ** power * plan * rows[1].T ** power).sum()
            assert math.isclose(found, (nodes[:, None] ** power * exact * nodes**power).sum(), rel_tol=0.02)


def test_entropic_pairs_are_drawn_from_the_plan():
    x_0, x_1 = normal(60, 1), normal(60, 2)
    plan = 60 * entropic_plan(squared_distances(x_0, x_1), 2.0)
    drawn = torch.stack([x_1[Entropic(1.0)(x_0, x_1, SeededNoise(seed))] for seed in range(100)])
    mean, square = plan @ x_1, plan @ x_1**2
    assert ((drawn.mean(0) - mean) / ((square - mean**2) / 100).sqrt()).abs().max() < 4.5


# -------------------------------------------------------------------------------------------------- process


@given(st.floats(0.05, 0.95), st.floats(0.0, 2.0), st.floats(0.01, 0.99))
def test_the_posterior_conditions_a_brownian_bridge(t, sigma, share):
    """N(x_t; its law given x_0, x_1) times the posterior does not depend on x_1: cov and mean of (x_s, x_t)."""
    s, process = t * share, Pinned(sigma=sigma)
    x_0, x_1 = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-1.1]], dtype=torch.float64)
    law = process.posterior(process.mix(x_0, x_1, t), x_0, t, s)
    assert torch.allclose(law.mean, process.mix(x_0, x_1, s))  # on the line, it stays on the line
    slope = s / t
    assert math.isclose(slope**2 * process.deviation(t) ** 2 + law.std**2, process.deviation(s) ** 2, abs_tol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_what_the_network_is_asked_has_unit_variance(sigma):
    process = Pinned(sigma=sigma)
    x_0, x_1 = normal(200_000, 1), normal(200_000, 2)
    for time in (0.01, 0.3, 0.5, 0.99):
        t = torch.full((len(x_0),), time, dtype=torch.float64)
        x_t, _ = process.between(x_0, x_1, t, SeededNoise(3))
        assert abs(x_t.std() * process.input_scale(time) - 1) < 0.01
        for y in targets(process, x_t, Ends(x_0, x_1), t):
            assert abs(y.std() - 1) < 0.01


def test_rows_are_drawn_alike_and_belong_to_the_sample():
    rows = StoredRows(5, (2,))
    rows.fill(torch.arange(14.0).view(7, 2), seed=0)
    assert len(rows.rows.unique(dim=0)) == 5
    like = torch.zeros(4000, 2)
    drawn = rows.sample(like, SeededNoise(1))
    counts = (drawn[:, :1] == rows.rows[:, 0]).sum(0)
    assert counts.sum() == 4000 and (counts - 800).abs().max() < 5 * math.sqrt(4000 * 0.16)
    assert torch.equal(rows.sample(like[:1500], SeededNoise(1, 2500)), drawn[2500:])


def test_rows_of_a_label_are_drawn_for_it():
    rows = StoredRows(60, (1,), labelled=True)
    labels = torch.arange(90) % 3
    rows.fill(labels[:, None].float(), 0, labels)
    wanted = torch.tensor([2, 0, -1, 1]).repeat(500)
    drawn = rows.sample(torch.zeros(2000, 1), SeededNoise(1), wanted)[:, 0]
    assert torch.equal(drawn[wanted >= 0], wanted[wanted >= 0].float())
    free = drawn[wanted < 0]
    assert all(abs((free == label).float().mean() - 1 / 3) < 0.1 for label in range(3))
    with pytest.raises(UserError, match="none has this label"):
        rows.sample(torch.zeros(1, 1), SeededNoise(1), torch.tensor([3]))


def test_a_coupling_inside_groups_is_one_of_each_group():
    x_0, x_1, groups = normal(30, 1, 2), normal(30, 2, 2), torch.arange(30) % 3
    to = within(OptimalTransport(), x_0, x_1, NOISE, groups)
    assert sorted(to.tolist()) == list(range(30)) and torch.equal(groups[to], groups)
    for group in range(3):
        mine = (groups == group).nonzero()[:, 0]
        alone = OptimalTransport()(x_0[mine], x_1[mine], NOISE)
        assert torch.equal(to[mine], mine[alone])


def test_the_symmetric_clock_is_the_integral_of_its_noise():
    """sqrt(beta) rises linearly to the middle and falls as it rose."""
    clock, u = SymmetricClock(ratio=4.0), torch.linspace(0, 1, 200_001, dtype=torch.float64)
    beta = (1 + 2 * torch.minimum(u, 1 - u)) ** 2
    whole = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(beta, u)])
    torch.testing.assert_close(clock.time(u), whole / whole[-1], atol=1e-9, rtol=0)
    torch.testing.assert_close(clock.rate(clock.time(u)), whole[-1] / beta, atol=1e-9, rtol=0)
    with pytest.raises(UserError, match="above 1"):
        SymmetricClock(ratio=1.0)


# ----------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("c", [0.0, 0.6])
def test_the_flow_takes_one_gaussian_to_the_other_and_back(sigma, c):
    ends = TwoGaussians(-1.0, 0.5, 2.0, 1.5, c)
    denoiser = GaussianBridge(Pinned(sigma=sigma), ends)
    x_1 = torch.tensor([[2.0], [3.5]], dtype=torch.float64)  # the mean, and one deviation above it
    x_0 = crossed(denoiser, Heun(denoiser.process), x_1, 400)
    within = 2e-3 if sigma == 0 else 2e-2
    assert abs(x_0[0] + 1.0) < within and abs((x_0[1] - x_0[0]) - 0.5) < within
    back = crossed(Backwards(denoiser), Heun(denoiser.process), x_0, 400)
    assert (back - x_1).abs().max() < 3 * within


@pytest.mark.parametrize("back", [False, True])
def test_the_sde_takes_one_gaussian_to_the_other_with_their_covariance(back):
    """The Schroedinger bridge N(-.1, 1) to N(.1, 1) with sigma 1: covariance (sqrt 5 - 1)/2."""
    ends = schroedinger(-0.1, 1.0, 0.1, 1.0, 1.0)
    assert math.isclose(ends.c, (math.sqrt(5) - 1) / 2)
    denoiser = GaussianBridge(Pinned(sigma=1.0), ends)
    start = normal(60_000, 5) + (-0.1 if back else 0.1)
    end = crossed(Backwards(denoiser) if back else denoiser, BridgeStep(denoiser.process), start, 100, belief=True)
    assert abs(end.mean() - (0.1 if back else -0.1)) < 0.02
    assert abs(end.var() - 1) < 0.02
    assert abs(torch.cov(torch.cat([start, end], 1).T)[0, 1] - ends.c) < 0.02


def test_steps_that_shorten_towards_the_data_keep_the_variance():
    """Of 20 steps of the SDE between two N(0, 1)."""
    denoiser = GaussianBridge(Pinned(sigma=1.0), schroedinger(0.0, 1.0, 0.0, 1.0, 1.0))
    start = normal(400_000, 5)
    even, slow = (
        crossed(denoiser, BridgeStep(denoiser.process), start, 20, True, grid) for grid in (trailing, slowing)
    )
    assert even.var() < 0.975 and abs(slow.var() - 1) < 0.012


def test_a_bridge_that_is_not_schroedinger_s_loses_its_covariance():
    """The SDE is Markov: from independent ends it keeps both marginals, and makes them depend on each other."""
    denoiser = GaussianBridge(Pinned(sigma=1.0), TwoGaussians())
    start = normal(50_000, 5)
    end = crossed(denoiser, BridgeStep(denoiser.process), start, 200, belief=True)
    assert abs(end.var() - 1) < 0.03 and torch.cov(torch.cat([start, end], 1).T)[0, 1] > 0.3


def test_a_straight_flow_needs_one_step():
    """Coupled by optimal transport, two Gaussians are joined by straight lines, and Euler's one step is exact."""
    denoiser = GaussianBridge(Pinned(), schroedinger(-1.0, 0.5, 2.0, 1.5, 0.0))
    x_1 = normal(10, 1)
    assert torch.allclose(crossed(denoiser, Euler(denoiser.process), x_1, 1), -1 + (x_1 - 2) / 3, atol=1e-12)


def test_one_step_of_a_flow_of_unpaired_rows_is_the_mean():
    denoiser = GaussianBridge(Pinned(), UNPAIRED)
    assert torch.allclose(crossed(denoiser, Euler(denoiser.process), normal(10, 1), 1), torch.tensor(-1.0).double())


def test_only_straight_paths_have_no_curvature():
    """Of optimal transport 0; of two independent N(0, 1), whose paths x_1 sqrt((1 - t)^2 + t^2) end where they began,
    the integral of the velocity's square."""
    x_1 = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    assert straightness(GaussianBridge(Pinned(), schroedinger(-1.0, 0.5, 2.0, 1.5, 0.0)), x_1).max() < 1e-20
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    speed = (2 * t - 1) / ((1 - t) ** 2 + t**2).sqrt()
    expected = torch.trapezoid(speed**2, t) * x_1[:, 0] ** 2
    assert torch.allclose(straightness(GaussianBridge(Pinned(), TwoGaussians()), x_1, 400), expected, rtol=1e-3)


@given(st.floats(0.05, 1.0), st.floats(0.0, 0.95))
def test_a_step_of_alpha_deblending_is_ddim_s(t, share):
    """x_{alpha + d} = x_alpha + d D(x_alpha), D the mean of x_1 - x_0 in its paper's names, against DDIM's step."""
    s, denoiser = t * share, GaussianBridge(Pinned(), UNPAIRED)
    x = normal(5, 3)
    said = denoiser.ends(x, t)
    deblended = x + (t - s) * (said.x_0 - said.x_1)  # its alpha = 1 - t grows from the start to the end
    for step in (Euler(denoiser.process), DDIM(denoiser.process)):
        assert torch.allclose(step(denoiser, x, t, s, None, NOISE)[0], deblended, atol=1e-9)
    assert torch.allclose(toward(Flow(), x, said.x_0, t, s, 0.0, NOISE), deblended, atol=1e-9)


# ------------------------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize("sigma", [0.0, 0.8])
@pytest.mark.parametrize("antithetic", [False, True])
def test_the_exact_denoiser_has_the_least_loss(sigma, antithetic):
    x_0, x_1 = -1 + 0.5 * normal(40_000, 1), 2 + 1.5 * normal(40_000, 2)

    def loss(ends):
        denoiser = GaussianBridge(Pinned(sigma=sigma), ends)
        return float(Matching(AsGiven(), antithetic=antithetic)(denoiser, x_0, x_1, SeededNoise(0)).mean())

    least = loss(UNPAIRED)
    for other in (TwoGaussians(-1.2, 0.5, 2.0, 1.5), TwoGaussians(-1, 0.7, 2, 1.5), TwoGaussians(-1, 0.5, 2, 1.5, 0.4)):
        assert loss(other) > least + 1e-3


def test_a_bridge_from_noise_is_the_flow_of_a_diffusion():
    """With x_1 ~ N(0, I) independent and sigma = 0 the process is the straight Gaussian diffusion's."""
    bridge, diffusion = Pinned(z=GaussianNoise()), Affine(Flow())
    x = normal(4, 1)
    for t in (0.2, 0.9):
        assert torch.allclose(bridge.corrupt(x, t, SeededNoise(2)), diffusion.corrupt(x, t, SeededNoise(2)))
        assert math.isclose(bridge.input_scale(t), diffusion.input_scale(t))
