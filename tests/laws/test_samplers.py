"""Every sampler by name: right distribution, right seeds, pure, watched, counted; and the identities between them."""

import math
import re
import weakref
from itertools import pairwise

import pytest
import torch
from scipy.stats import ks_2samp

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.prediction import Eps
from undiffuse.exact import Empirical, GaussianMixture
from undiffuse.process import EDM, VP, Affine, Belief, Flow, Linear, PoissonNoise, ZeroTerminal
from undiffuse.sampling.grid import LogLinearGrid, trailing
from undiffuse.sampling.loop import Counted, last, sample, trajectory
from undiffuse.sampling.samplers import SAMPLERS, sampler_of, samplers_of
from undiffuse.step.adams_bashforth import AdamsBashforth
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.annealed_langevin import AnnealedLangevin
from undiffuse.step.ddim import DDIM
from undiffuse.step.dpm_solver import DPMSolverMultistep
from undiffuse.step.euler import Euler
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.step.unipc import UniPC

every_sampler = pytest.mark.parametrize("name", SAMPLERS)
VP_PROCESS = Affine(VP())


def three_modes(process: Affine) -> GaussianMixture:
    """A 2-D mixture of unequal weights and shapes, mean about 0, variance about 1."""
    means = torch.tensor([[-1.0, 0.2], [1.1, 0.9], [0.9, -1.7]], dtype=torch.float64)
    shapes = [[[0.09, 0.03], [0.03, 0.04]], [[0.02, 0.0], [0.0, 0.15]], [[0.05, -0.03], [-0.03, 0.06]]]
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return GaussianMixture(process, weights, means, torch.tensor(shapes, dtype=torch.float64))


def believed(name: str, truth):
    """What the sampler wants of a denoiser: `ddpm-learned` a belief, here with the smaller variance."""
    return (lambda x, t: Belief(truth(x, t), 0.0)) if SAMPLERS[name].learned_variance else truth


def draw(name: str, process: Affine, count: int, steps: int, seed: int = 0, first: int = 0) -> torch.Tensor:
    sampler, truth = SAMPLERS[name], believed(name, three_modes(process))
    like = torch.empty(count, 2, dtype=torch.float64)
    return sample(process, sampler.make(process), truth, like, sampler.grid(process.schedule, steps), seed, first)


def least_p(x: torch.Tensor, y: torch.Tensor) -> float:
    """The smallest Kolmogorov-Smirnov p-value over eight directions, times eight."""
    angles = torch.arange(8, dtype=torch.float64) * torch.pi / 8
    directions = torch.stack([angles.cos(), angles.sin()])
    return 8 * min(ks_2samp(a, b).pvalue for a, b in zip((x @ directions).T, (y @ directions).T, strict=True))


COUNT = 8000  # at 2,000, shares of .47, .31, .23 for .5, .3, .2 passed with three seeds of four
TRUTH = three_modes(VP_PROCESS).sample(COUNT, SeededNoise(100))


@every_sampler
@pytest.mark.parametrize("schedule", [VP(), Flow()], ids=lambda s: type(s).__name__)
def test_same_distribution(name, schedule):
    """8,000 samples of 150 steps against 8,000 exact ones, on a schedule that begins with data and on one without."""
    assert least_p(draw(name, Affine(schedule), COUNT, 150), TRUTH) > 1e-3


def test_the_distribution_test_can_fail():
    again = three_modes(VP_PROCESS).sample(COUNT, SeededNoise(101))
    assert least_p(again, TRUTH) > 1e-3
    assert least_p(draw("ddim", VP_PROCESS, COUNT, 6), TRUTH) < 1e-3  # too few steps
    assert least_p(draw("ddpm", VP_PROCESS, COUNT, 20), TRUTH) < 1e-3
    assert least_p(again * 1.04, TRUTH) < 1e-3  # a spread that is 4% too large
    impatient = AnnealedLangevin(VP_PROCESS, repeats=5)
    x = sample(VP_PROCESS, impatient, three_modes(VP_PROCESS), torch.empty_like(again), trailing(VP(), 150))
    assert least_p(x, TRUTH) < 1e-3  # the modes' shares


# ----------------------------------------------------------------------------------------------------- seeds


@every_sampler
def test_the_same_seed_gives_the_same_samples_whatever_the_batch(name):
    whole = draw(name, VP_PROCESS, 64, 10)
    for batch in (1, 7):
        for first in (0, 21, 63 - batch):
            part = draw(name, VP_PROCESS, batch, 10, first=first)
            assert torch.allclose(part, whole[first : first + batch], rtol=1e-8, atol=1e-8)
    assert torch.equal(draw(name, VP_PROCESS, 64, 10), whole)
    assert not torch.allclose(draw(name, VP_PROCESS, 64, 10, seed=1), whole, atol=0.1)


@every_sampler
def test_two_halves_are_the_whole(name):
    halves = [draw(name, VP_PROCESS, 32, 10, first=first) for first in (0, 32)]
    assert torch.allclose(torch.cat(halves), draw(name, VP_PROCESS, 64, 10), rtol=1e-8, atol=1e-8)


# ------------------------------------------------------------------------------------------------ identities


def end(step, steps: int = 12, process: Affine = VP_PROCESS, denoise=None) -> torch.Tensor:
    truth = denoise or three_modes(process)
    return sample(process, step, truth, torch.empty(16, 2, dtype=torch.float64), trailing(process.schedule, steps))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "schedule", [VP(), EDM(), Flow(), Linear(), ZeroTerminal(VP())], ids=lambda s: type(s).__name__
)
def test_one_line_many_names(schedule):
    process = Affine(schedule)
    ddim, ddpm = end(DDIM(process), process=process), end(Ancestral(process), process=process)
    assert same(end(DDIM(process, eta=1.0), process=process), ddpm)
    assert same(end(GradientEstimation(process, 1.0, 0.0), process=process), ddim)
    assert same(end(GradientEstimation(process, 1.0, 0.5), process=process), ddpm)
    assert same(end(DPMSolverMultistep(process, 1), process=process), ddim)
    assert same(end(DPMSolverMultistep(process, 1, eta=1.0), process=process), ddpm)
    assert same(end(AdamsBashforth(process, 1), process=process), ddim)
    assert same(end(PredictorCorrector(process, corrections=0), process=process), ddpm)
    assert not same(ddim, ddpm)
    if isinstance(schedule, Flow | EDM):  # straight
        assert same(end(Euler(process), process=process), ddim)


def test_no_parabola_over_a_long_step():
    """Order 3 is order 2 where steps are longer than an e-fold of sigma/alpha, and only there."""
    for steps, alike in ((5, True), (20, False)):
        times = LogLinearGrid(0.05, 80.0)(VP(), steps)
        x = VP_PROCESS.start(torch.empty(4, 2, dtype=torch.float64), SeededNoise(0), times[0])
        two, three = (
            last(trajectory(UniPC(VP_PROCESS, order), three_modes(VP_PROCESS), x, times, SeededNoise(0)))
            for order in (2, 3)
        )
        assert same(two, three) == alike


def test_large_variance_is_beta():
    truth = three_modes(VP_PROCESS)
    by_belief = end(Ancestral(VP_PROCESS), denoise=lambda x, t: Belief(truth(x, t), 1.0))
    assert same(end(SAMPLERS["ddpm-large"].make(VP_PROCESS)), by_belief)
    assert not same(end(Ancestral(VP_PROCESS)), by_belief)


def test_momentum_changes_direction_only_after_the_first_step():
    truth, x = three_modes(VP_PROCESS), torch.randn(4, 2, dtype=torch.float64)
    with_momentum, z = GradientEstimation(VP_PROCESS)(truth, x, 0.9, 0.8, None, SeededNoise(0))
    assert same(with_momentum, DDIM(VP_PROCESS)(truth, x, 0.9, 0.8, None, SeededNoise(0))[0])
    again, _ = GradientEstimation(VP_PROCESS)(truth, x, 0.9, 0.8, z, SeededNoise(0))
    assert same(again, with_momentum)  # the z before is this one: nothing to extrapolate
    other, _ = GradientEstimation(VP_PROCESS)(truth, x, 0.9, 0.8, z + 1, SeededNoise(0))
    assert not same(other, with_momentum)


def test_any_step_may_be_corrected():
    for predictor in (DDIM(VP_PROCESS), DPMSolverMultistep(VP_PROCESS), Heun(VP_PROCESS)):
        assert end(PredictorCorrector(VP_PROCESS, predictor)).isfinite().all()


# ------------------------------------------------------------------------------------------- pure and counted


@every_sampler
@pytest.mark.parametrize("schedule", [VP(), EDM(), Flow(), Linear()], ids=lambda s: type(s).__name__)
def test_steps_are_pure(name, schedule):
    """Nothing given is written to: not x_t, not what the denoiser returned, not memory; and twice is the same."""
    process, sampler = Affine(schedule), SAMPLERS[name]
    step, truth, kept = sampler.make(process), believed(name, three_modes(process)), []

    def remembering(x_t, t):
        answer = truth(x_t, t)
        mean = answer.mean if isinstance(answer, Belief) else answer
        kept.append((x_t, x_t.clone(), mean, mean.clone()))
        return answer

    times = sampler.grid(schedule, 6)
    x, memory = process.start(torch.empty(3, 2, dtype=torch.float64), SeededNoise(0), times[0]), None
    for i, (t, s) in enumerate(pairwise(times)):
        before = x.clone()
        once = step(remembering, x, t, s, memory, SeededNoise(i))
        twice = step(remembering, x, t, s, memory, SeededNoise(i))
        assert torch.equal(once[0], twice[0])
        assert torch.equal(x, before)
        assert once[0].isfinite().all()
        x, memory = once
    for x_t, was, mean, was_mean in kept:
        assert torch.equal(x_t, was)
        assert torch.equal(mean, was_mean)


@every_sampler
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_evaluations_are_as_declared(name, steps):
    sampler = SAMPLERS[name]
    counted = Counted(believed(name, three_modes(VP_PROCESS)))
    sample(
        VP_PROCESS, sampler.make(VP_PROCESS), counted, torch.empty(2, 2, dtype=torch.float64), sampler.grid(VP(), steps)
    )
    assert counted.count == sampler.evaluations(steps)


@every_sampler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_pictures_keep_their_shape_and_type(name, dtype):
    """An x_0 of constants is reached exactly by every sampler, whatever the shape; coefficients never promote."""
    sampler = SAMPLERS[name]
    picture = torch.linspace(-1, 1, 3 * 5 * 4, dtype=dtype).view(3, 5, 4)

    def knowing(x_t, t):
        assert x_t.dtype == dtype
        return picture.expand_as(x_t)

    x = sample(
        VP_PROCESS,
        sampler.make(VP_PROCESS),
        believed(name, knowing),
        torch.empty(2, 3, 5, 4, dtype=dtype),
        sampler.grid(VP(), 12),
    )
    assert x.dtype == dtype
    assert x.shape == (2, 3, 5, 4)
    assert (x - picture).abs().max() < {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float64: 1e-9}[dtype]


@every_sampler
def test_every_state_can_be_watched(name):
    sampler = SAMPLERS[name]
    times = sampler.grid(VP(), 9)
    noise = SeededNoise(0)
    x = VP_PROCESS.start(torch.empty(4, 2, dtype=torch.float64), noise, times[0])
    states = list(trajectory(sampler.make(VP_PROCESS), believed(name, three_modes(VP_PROCESS)), x, times, noise))
    assert tuple(state.t for state in states) == times
    assert all(state.x.shape == (4, 2) for state in states)
    assert same(states[-1].x, draw(name, VP_PROCESS, 4, 9))


@every_sampler
def test_memory_does_not_grow_with_the_steps(name):
    """Of all states and answers so far, as many are alive at the 40th step as at the 10th: memory and no more."""
    truth, sampler, seen, alive = believed(name, three_modes(VP_PROCESS)), SAMPLERS[name], [], []

    def watching(x_t, t):
        answer = truth(x_t, t)
        seen.extend(weakref.ref(x) for x in (x_t, answer.mean if isinstance(answer, Belief) else answer))
        alive.append(sum(ref() is not None for ref in seen))
        return answer

    like = torch.empty(11, 2, dtype=torch.float64)
    sample(VP_PROCESS, sampler.make(VP_PROCESS), watching, like, sampler.grid(VP(), 40))
    assert max(alive[len(alive) // 4 :]) == max(alive[: len(alive) // 4]) <= 12


@pytest.mark.parametrize("name", [n for n, s in SAMPLERS.items() if n not in ("ddpm", "ddpm-large", "ddpm-learned")])
def test_one_step_is_sampling_too(name):
    assert draw(name, VP_PROCESS, 4, 1).isfinite().all()


# ----------------------------------------------------------------------------------- noise that is not Gaussian


class Drawing:
    """Noise that counts how often it is drawn."""

    def __init__(self) -> None:
        self.draws = 0

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        self.draws += 1
        return torch.zeros_like(like)


def draws_fresh_noise(name: str) -> bool:
    noise, sampler = Drawing(), SAMPLERS[name]
    step, truth = sampler.make(VP_PROCESS), believed(name, three_modes(VP_PROCESS))
    last(trajectory(step, truth, torch.ones(1, 2, dtype=torch.float64), sampler.grid(VP(), 5), noise))
    return noise.draws > 0


@every_sampler
def test_fresh_noise_is_refused_where_noise_is_not_gaussian(name):
    """Exactly the samplers that draw noise on the way are refused under PFGM++, by a line that names others."""
    flow, diffusion = Affine(EDM(), PoissonNoise(4.0)), Affine(EDM(), PoissonNoise(math.inf))
    assert sampler_of(diffusion, name) is SAMPLERS[name]
    if draws_fresh_noise(name):
        with pytest.raises(
            UserError, match=f"{re.escape(name)} cannot sample .*PoissonNoise.*choose one of ddim, .*heun"
        ):
            sampler_of(flow, name)
        with pytest.raises(UserError, match="only Gaussian noise"):
            SAMPLERS[name].make(flow)
    else:
        assert sampler_of(flow, name) is SAMPLERS[name]


@pytest.mark.parametrize(
    "make",
    [
        lambda process: DDIM(process, eta=0.1),
        lambda process: DPMSolverMultistep(process, eta=0.1),
        lambda process: GradientEstimation(process, mu=0.1),
        lambda process: Heun(process, churn=0.1),
        Ancestral,
        PredictorCorrector,
    ],
)
def test_a_step_with_fresh_noise_cannot_be_made_where_noise_is_not_gaussian(make):
    make(Affine(EDM(), PoissonNoise(math.inf)))
    with pytest.raises(UserError, match="only Gaussian noise has steps that add fresh noise"):
        make(Affine(EDM(), PoissonNoise(4.0)))


@pytest.mark.parametrize("D", [1.0, 8.0, math.inf])
def test_poisson_flow_reaches_equal_points_equally_often(D):
    """Five equal points: a fifth of the samples each, by every sampler that is not refused."""
    process = Affine(EDM(), PoissonNoise(D))
    points = torch.tensor([[-1.4, 0.0], [-0.5, 0.6], [0.0, -1.0], [0.7, 0.9], [1.2, -0.4]], dtype=torch.float64)
    for name in samplers_of(Affine(EDM(), PoissonNoise(1.0))):
        sampler, like = SAMPLERS[name], torch.empty(3000, 2, dtype=torch.float64)
        times = sampler.grid(EDM(), 40)
        x = sample(process, sampler.make(process), Empirical(process, points), like, times)
        share = torch.cdist(x, points).argmin(1).bincount(minlength=5) / len(x)
        assert share.tolist() == pytest.approx([0.2] * 5, abs=0.035), name  # 4.8 standard errors


def test_eps_is_blind_where_nothing_is_left():
    """Zero-terminal SNR with an eps network fails loudly, at the denoiser; see `predict.inversion`."""
    from undiffuse.denoiser.prediction import to_x0

    with pytest.raises(UserError, match="says nothing about x_0"):
        to_x0(Eps(), Flow(), torch.zeros(1, 2), torch.zeros(1, 2), 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDIM(VP_PROCESS, eta=1.5), "eta must lie"),
        (lambda: DPMSolverMultistep(VP_PROCESS, order=4), "order must be a whole number from 1 to 3"),
        (lambda: DPMSolverMultistep(VP_PROCESS, eta=-1), "eta must lie"),
        (lambda: UniPC(VP_PROCESS, order=0), "order must be"),
        (lambda: UniPC(VP_PROCESS, b=3), "b must be 1 or 2"),
        (lambda: AdamsBashforth(VP_PROCESS, order=True), "order must be"),
        (lambda: GradientEstimation(VP_PROCESS, mu=1.0), "mu must lie"),
        (lambda: GradientEstimation(VP_PROCESS, gamma=float("nan")), "gamma must be a number"),
        (lambda: Heun(VP_PROCESS, churn=-0.1), "churn"),
        (lambda: PredictorCorrector(VP_PROCESS, snr=0.0), "snr in "),
        (lambda: PredictorCorrector(VP_PROCESS, snr=1.0), "diverges"),
        (lambda: AnnealedLangevin(VP_PROCESS, size=2.5), "diverges"),
    ],
)
def test_mistakes_are_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
