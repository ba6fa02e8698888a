"""Samples that start from data: noised part of the way, inverted, and on the way between two."""

import math
from itertools import pairwise

import pytest
import torch

from undiffuse.codec import Normalise
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.core.sphere import slerp
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import ABSORBING, EDM, VP, Affine, Categorical, Cosine, Fading, Flow, Linear, ZeroTerminal
from undiffuse.process.mixed import Mixed
from undiffuse.run.interpolate import path
from undiffuse.run.start import PURE_NOISE, Kept, Noised, PureNoise
from undiffuse.sampling.grid import angle_uniform, cut, log_snr_uniform, trailing
from undiffuse.sampling.invert import inverted
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.ddim import DDIM

SCHEDULES = {
    "cosine": Cosine(),
    "VP": VP(),
    "EDM": EDM(),
    "flow": Flow(),
    "table": Linear(),
    "zero": ZeroTerminal(VP()),
}
CODEC = Normalise("points", (2,))  # the identity
MEAN = torch.tensor([0.4, -0.3]).double()
STDS = torch.tensor([1.3, 0.5]).double()
PICTURE = torch.tensor([[1.6, 0.5]]).double()


class Identity(Normalise):
    def encode(self, x, noise=None):
        return x


def gaussian(schedule) -> Gaussian:
    return Gaussian(Affine(schedule), MEAN, STDS.diag() ** 2)


def drawn(exact: Gaussian, step, start, times, count: int = 8_000):
    noise, process = SeededNoise(0), exact.process
    times = start.times(process, times)
    x = start.state(process, Identity("points", (2,)), torch.zeros(count, 2).double(), times[0], noise)
    return last(trajectory(step(process), exact, x, times, noise))


# ------------------------------------------------------------------------------------------------- by strength


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("share", [1e-3, 0.2, 0.6, 0.95])
def test_the_time_of_a_strength_has_that_share_of_noise(name, share):
    process = Affine(SCHEDULES[name])
    alpha, sigma, _ = process.schedule.at(process.time(share))
    reached = sigma / (alpha + sigma)
    assert reached == pytest.approx(share, rel=1e-6) or (share > 0.9 and process.time(share) == 1)
    assert process.level(process.time(share)) == f"noise {reached:.0%}"
    assert Mixed(1, process, Categorical(Fading(), ABSORBING, 2)).time(share) == process.time(share)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_the_time_of_a_strength_has_that_share_of_lost_tokens(share):
    process = Categorical(Fading(), ABSORBING, 5)
    assert float(process.survival(process.time(share)).lose) == pytest.approx(share)


@pytest.mark.parametrize("name", SCHEDULES)
def test_at_full_strength_it_is_sampling(name):
    """Bit for bit, on a grid that begins below t = 1 too."""
    exact = gaussian(SCHEDULES[name])
    for grid in (trailing, log_snr_uniform):
        times = grid(SCHEDULES[name], 7)
        full = drawn(exact, DDIM, Noised(PICTURE.expand(50, -1), 1.0), times, 50)
        assert torch.equal(full, drawn(exact, DDIM, PURE_NOISE, times, 50))


@pytest.mark.parametrize("name", SCHEDULES)
def test_at_little_strength_it_is_nearly_the_picture(name):
    exact, times = gaussian(SCHEDULES[name]), trailing(SCHEDULES[name], 20)
    for strength in (1e-3, 1e-2):
        off = drawn(exact, DDIM, Noised(PICTURE.expand(500, -1), strength), times, 500) - PICTURE
        assert off.abs().max() < 6 * strength


@pytest.mark.parametrize("name", ["cosine", "EDM", "flow"])
@pytest.mark.parametrize("strength", [0.3, 0.6])
def test_of_a_gaussian_its_distribution_is_known(name, strength):
    """By the flow and by ancestral sampling, axis by axis; the mean lies between the picture and the data's mean."""
    exact = gaussian(SCHEDULES[name])
    alpha, sigma, _ = SCHEDULES[name].at(exact.process.time(strength))
    times, start = angle_uniform(SCHEDULES[name], 120), Noised(PICTURE.expand(8_000, -1), strength)
    l = STDS**2
    spread = alpha**2 * l + sigma**2
    flow = (alpha * (l / spread).sqrt(), sigma**2 * l / spread)
    gain = alpha**2 * l / spread
    ancestral = (gain, gain * l * sigma**2 / spread + sigma**2 * l / spread)
    for step, (g, h) in ((DDIM, flow), (Ancestral, ancestral)):
        x = drawn(exact, step, start, times)
        torch.testing.assert_close(x.mean(0), MEAN + g * (PICTURE[0] - MEAN), atol=0.03, rtol=0)
        torch.testing.assert_close(x.var(0), h, atol=0.01, rtol=0.05)


def test_samples_take_the_rows_in_turn():
    start = Noised(torch.arange(3.0)[:, None], 0.5).take(range(2, 7))
    assert start.x[:, 0].tolist() == [2, 0, 1, 2, 0]
    assert Kept(torch.arange(2.0)[:, None], 0.7).take(range(1, 4)).x[:, 0].tolist() == [1, 0, 1]
    assert PureNoise().take(range(3)) == PURE_NOISE


def test_only_what_is_left_of_a_grid_is_visited():
    times = trailing(Cosine(), 10)
    assert cut(times, 0.55) == (0.55, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
    assert cut(times, times[0]) == times and cut(times, 0.3)[:2] == (0.3, 0.2)
    for strength in (1e-12, 0.01):
        left = Noised(PICTURE, strength).times(Affine(Cosine()), times)
        assert len(left) == 2 and 0 < left[0] < 0.02 and left[1] == 0


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, math.nan])
def test_a_strength_is_a_share(strength):
    with pytest.raises(UserError, match=r"above 0 .* at most 1"):
        Noised(PICTURE, strength)


def test_kept_noise_of_another_shape_is_refused():
    with pytest.raises(UserError, match="of shape 3, and what diffuses in this run of 2"):
        Kept(torch.zeros(4, 3), 1.0).state(Affine(Cosine()), CODEC, torch.zeros(4, 2), 1.0, SeededNoise(0))


# -------------------------------------------------------------------------------------------------- inversion


def there_and_back(exact, x_0, times, refine):
    z = inverted(exact.process.schedule, exact, x_0, times, refine)
    return z, last(trajectory(DDIM(exact.process), exact, z, times, SeededNoise(0)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_refined_it_comes_back_exactly(name):
    exact = gaussian(SCHEDULES[name])
    x_0 = exact.sample(64, SeededNoise(3))
    _, back = there_and_back(exact, x_0, trailing(SCHEDULES[name], 20), 60)
    torch.testing.assert_close(back, x_0, atol=1e-5, rtol=0)


def test_refined_it_comes_back_from_a_mixture_too():
    means = torch.tensor([[1.0, 0.5], [-1.0, 0.3], [0.2, -1.2]]).double()
    exact = GaussianMixture.isotropic(Affine(Cosine()), means, 0.4)
    x_0 = exact.sample(64, SeededNoise(3))
    rough, fine = (there_and_back(exact, x_0, trailing(Cosine(), 40), n)[1] for n in (0, 60))
    assert (fine - x_0).abs().quantile(0.9) < 1e-5
    assert (rough - x_0).abs().median() > 1e-3


@pytest.mark.parametrize("name", ["cosine", "EDM", "flow"])
def test_its_order_is_one(name):
    """The explicit inverse ends at the flow's, and what comes back at the data, with half the error at twice the
    steps."""
    exact, errors = gaussian(SCHEDULES[name]), []
    x_0 = exact.sample(64, SeededNoise(3))
    for count in (40, 80, 160, 320):
        times = angle_uniform(SCHEDULES[name], count)
        z, back = there_and_back(exact, x_0, times, 0)
        errors.append([float((z - exact.flow(x_0, 0.0, times[0])).norm() / z.norm()), float((back - x_0).norm())])
    for coarse, fine in pairwise(errors[1:]):
        assert all(0.8 < math.log2(a / b) < 1.4 for a, b in zip(coarse, fine, strict=True)), errors


# --------------------------------------------------------------------------------------------------- between two


def test_the_way_is_an_arc():
    a, b = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    arc = slerp(a, b, torch.tensor([0, 1 / 3, 0.5, 1]))
    torch.testing.assert_close(arc[1], torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6), 0]))
    torch.testing.assert_close(arc.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(slerp(a, 3 * b, torch.tensor([0.0, 1.0])), torch.stack([a, 3 * b]))
    torch.testing.assert_close(slerp(a, 3 * a, torch.tensor([0.5])), 2 * a[None])


def test_noise_stays_noise_on_the_way():
    z = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    frames = path(z, 9)
    assert torch.equal(frames[0], z[0]) and torch.allclose(frames[-1], z[1], atol=1e-6)
    assert (frames.flatten(1).std(1) - 1).abs().max() < 0.03
    assert (z.mean(0).std() - 1).abs() > 0.25  # what a straight line would have made of it


def test_a_path_goes_through_every_end_in_even_steps():
    ends = torch.eye(3)
    frames = path(ends, 5)
    assert torch.equal(frames[[0, 2, 4]], ends)
    angles = [float((a @ b).clamp(-1, 1).acos()) for a, b in pairwise(frames)]
    assert angles == pytest.approx([math.pi / 4] * 4, abs=1e-3)
