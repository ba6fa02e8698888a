"""The same seed gives the same noise, whatever the batch; and it is the noise that it says it is."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.process import PoissonNoise
from undiffuse.process.radial import GaussianNoise

shapes = st.lists(st.integers(1, 70), min_size=0, max_size=2).map(tuple)


@given(shapes, st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 5000), st.integers(0, 2**63))
@settings(max_examples=50)
def test_noise_belongs_to_the_sample_not_the_batch(shape, batches, first, seed):
    whole = SeededNoise(seed, first)
    like = torch.empty(sum(batches), *shape)
    draws = [whole.normal(like), whole.uniform(like), whole.normal(like)]
    for part in batches:
        alone = SeededNoise(seed, first)
        first += part
        few = torch.empty(part, *shape)
        for i, draw in enumerate((alone.normal, alone.uniform, alone.normal)):
            assert torch.equal(draw(few), draws[i][:part])
        draws = [draw[part:] for draw in draws]


@pytest.mark.parametrize("size", [1, 3, 4096, 5000])
def test_every_number_is_its_own(size):
    """No two of 2 seeds x 3 samples x 2 draws x size numbers are the same, as none are of so many float64."""
    like = torch.empty(3, size, dtype=torch.float64)
    drawn = []
    for seed in (0, 1):
        noise = SeededNoise(seed)
        drawn += [noise.normal(like), noise.normal(like)]
    assert torch.stack(drawn).unique().numel() == 12 * size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_kind_of_number(dtype):
    like = torch.empty(2, 3, dtype=dtype)
    for noise in (SeededNoise(0), Stream()):
        assert noise.normal(like).dtype == dtype and noise.uniform(like).shape == like.shape


@pytest.mark.parametrize(
    "noise", [SeededNoise(5, 17), Stream(torch.Generator().manual_seed(5))], ids=["seeded", "stream"]
)
def test_laws_of_the_numbers(noise):
    like = torch.empty(1000, 50, dtype=torch.float64)
    assert scipy.stats.kstest(noise.normal(like).flatten().numpy(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(noise.uniform(like).flatten().numpy(), "uniform").pvalue > 1e-3
    across = torch.corrcoef(noise.normal(like).T) - torch.eye(50)
    assert across.abs().max() < 6 / math.sqrt(1000)


def test_the_millionth_million_of_samples_costs_what_the_first_does():
    """Memory is of what is asked for; and samples are counted from 0, draws as well."""
    like = torch.empty(2, 3)
    noise = SeededNoise(4, 10**12)
    assert noise.draws == 0 and noise.normal(like).isfinite().all() and noise.draws == 1
    assert torch.equal(SeededNoise(4).normal(like), SeededNoise(4, 0).normal(like))


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_processes_that_share_a_batch_draw_what_one_would(draw):
    """Process i of n has rows i, i + n, ... of the whole batch, whose noise any of them can draw."""
    few, all_rows = torch.empty(4, 2, 3, dtype=torch.float64), torch.empty(12, 2, 3, dtype=torch.float64)
    every = getattr(Stream(torch.Generator().manual_seed(1)), draw)(all_rows)
    for i in range(3):
        mine, whole = (Stream(torch.Generator().manual_seed(1), i, 3) for _ in range(2))
        assert torch.equal(getattr(mine, draw)(few), every[i::3])
        assert torch.equal(getattr(whole.whole(), draw)(all_rows), every)


@pytest.mark.parametrize("processes", [1, 2])
def test_noise_is_drawn_where_its_generator_is_and_brought_to_where_it_is_used(processes):
    """Without one, where it is used: here a device that holds no numbers."""
    drawn = Stream(None, 0, processes).normal(torch.empty(3, 2, device="meta"))
    assert drawn.device.type == "meta" and drawn.shape == (3, 2)
    drawn = Stream(torch.Generator(), 0, processes).normal(torch.empty(3, 2, device="meta"))
    assert drawn.device.type == "meta" and drawn.shape == (3, 2)
    assert SeededNoise(0).normal(torch.empty(3, 2, device="meta")).device.type == "meta"


def test_no_samples_is_no_noise():
    assert SeededNoise(0).normal(torch.empty(0, 3)).shape == (0, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_the_device_changes_nothing():
    cpu, cuda = torch.empty(5, 7), torch.empty(5, 7, device="cuda")
    assert torch.equal(SeededNoise(3).normal(cpu), SeededNoise(3).normal(cuda).cpu())
    here, there = (Stream(torch.Generator("cuda").manual_seed(0)) for _ in range(2))
    assert torch.equal(here.normal(cpu), there.normal(cuda).cpu())  # drawn where the generator is


# ---------------------------------------------------------------------------------- the laws of z


@pytest.mark.parametrize("size", [1, 2, 64])
@pytest.mark.parametrize("D", [0.05, 1.0, 8.0, 2048.0])
def test_the_poisson_laws_radius(D, size):
    """R^2/(N sigma^2) is F(N, D): Student's t. KS against scipy."""
    z = PoissonNoise(D).sample(torch.empty(4000, size, dtype=torch.float64), SeededNoise(11))
    assert z.isfinite().all()
    ratio = z.square().sum(1) / size
    assert scipy.stats.kstest(ratio.numpy(), scipy.stats.f(size, D).cdf).pvalue > 1e-3


def test_the_poisson_laws_direction_is_uniform():
    z = PoissonNoise(1.0).sample(torch.empty(20_000, 2, dtype=torch.float64), SeededNoise(2))
    angle = torch.atan2(z[:, 1], z[:, 0]) / (2 * math.pi) + 0.5
    assert scipy.stats.kstest(angle.numpy(), "uniform").pvalue > 1e-3
    ranks = torch.stack([angle, z.norm(dim=1).log()])
    assert torch.corrcoef(ranks)[0, 1].abs() < 0.03  # independent of the radius


def test_many_dimensions_are_gaussian():
    like = torch.empty(50, 3, dtype=torch.float64)
    assert torch.equal(
        PoissonNoise(math.inf).sample(like, SeededNoise(0)), GaussianNoise().sample(like, SeededNoise(0))
    )
    z = PoissonNoise(1e6).sample(torch.empty(4000, 3, dtype=torch.float64), SeededNoise(0))
    assert scipy.stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    square = torch.linspace(0, 9, 10, dtype=torch.float64)
    near, limit = (PoissonNoise(D).log_density(square, 3) for D in (1e7, math.inf))
    torch.testing.assert_close(near, limit, rtol=0, atol=1e-5)


@pytest.mark.parametrize("D", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("size", [1, 4])
def test_densities_of_z(D, size):
    z = torch.randn(20, size, dtype=torch.float64)
    student = scipy.stats.multivariate_t(torch.zeros(size), torch.eye(size), df=D)
    ours = PoissonNoise(D).log_density(z.square().sum(1), size)
    torch.testing.assert_close(ours, torch.from_numpy(student.logpdf(z.numpy())).view(-1), rtol=1e-8, atol=1e-8)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(GaussianNoise().log_density(z.square().sum(1), size), normal)


def test_too_few_dimensions():
    with pytest.raises(UserError, match="D > 0"):
        PoissonNoise(0.0)
