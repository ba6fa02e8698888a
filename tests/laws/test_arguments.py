"""What the parts may be asked for, to the last value that is taken and the first that is not; and what is done unasked.

A recipe that leaves a setting out means the one that is written here.
"""

import inspect
import math

import pytest
import torch
from bounds import begins_at_a_bound

from undiffuse.core.noise import SeededNoise
from undiffuse.denoiser.categorical import TokenDenoiser
from undiffuse.denoiser.classifier import ConditionClassifier
from undiffuse.denoiser.flow_map import FlowMap
from undiffuse.denoiser.gaussian import LOG_SNR_RANGE, Denoiser
from undiffuse.denoiser.guidance import ClassifierFree, DynamicThreshold, Interval, StaticThreshold
from undiffuse.denoiser.mixed import MixedDenoiser
from undiffuse.denoiser.prediction import V
from undiffuse.exact import Chain, Gaussian
from undiffuse.loss.adaptive import Adaptive, Importance
from undiffuse.loss.categorical import MaskedBound, TokenBound, Unrolled
from undiffuse.loss.cross_entropy import CrossEntropy
from undiffuse.loss.denoising import Denoising, PseudoHuber, Squared
from undiffuse.loss.draws import Independent, LowDiscrepancy
from undiffuse.loss.integral import CosineMinSNR, EDMCurve, Integral, Monotone, SigmoidWeight
from undiffuse.loss.mixed import MixedLoss
from undiffuse.loss.score_matching import ScoreMatching, Sliced
from undiffuse.loss.time import LogitNormal, LogNormal, Uniform
from undiffuse.loss.variational import ContinuousBound, Hybrid, VariationalBound
from undiffuse.loss.weight import EDMWeight, MinSNR, Simple
from undiffuse.process import (
    ABSORBING,
    EDM,
    UNIFORM,
    VP,
    Affine,
    AlphaBars,
    Categorical,
    Cosine,
    CosineTable,
    Fading,
    Linear,
    LogLinear,
    Mixed,
    Neighbours,
    Ordinal,
    PoissonNoise,
    Replace,
    ScaledLinear,
    Shifted,
    Sigmoid,
    SigmoidBetas,
    SubVP,
    ZeroTerminal,
    ordinal,
)
from undiffuse.process.learned import Learned
from undiffuse.process.radial import GaussianNoise
from undiffuse.sampling.grid import MOST, Karras, LogLinearGrid, trailing
from undiffuse.theory.langevin import langevin
from undiffuse.theory.likelihood import affine_bound, bound, log_likelihood

EDGES = torch.tensor([[1], [2], [0]])
P = Affine(VP())
EXACT = Gaussian(P, torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


def bounded(times: tuple[float, ...], terms: int | None = None) -> None:
    bound(P, EXACT, torch.zeros(1, 2, dtype=torch.float64), times, SeededNoise(0), terms)


# what is made, of which values it is made, of which it is not
BOUNDS = {
    "start of times": (lambda v: Uniform(start=v), [0.0, 0.99], [-0.01, 1.0]),
    "steps": (lambda v: Uniform(steps=v), [1, 2], [0, -1]),
    "start of discrete times": (lambda v: Uniform(steps=5, start=v), [0.0], [0.01]),
    "importance's bins": (lambda v: Importance(bins=v), [1], [0]),
    "importance's history": (lambda v: Importance(history=v), [1], [0]),
    "importance's explore": (lambda v: Importance(explore=v), [0.01, 1.0], [0.0, 1.01]),
    "adaptive bins": (lambda v: Adaptive(bins=v), [1], [0]),
    "adaptive range": (lambda v: Adaptive(log_snr_range=v), [(0.0, 0.1)], [(0.0, 0.0), (1.0, 0.0)]),
    "adaptive decay": (lambda v: Adaptive(decay=v), [0.0, 0.99], [-0.01, 1.0]),
    "adaptive explore": (lambda v: Adaptive(explore=v), [0.01, 1.0], [0.0, 1.01]),
    "auxiliary": (lambda v: TokenBound(auxiliary=v), [0.0, 0.1], [-0.01]),
    "unrolls": (Unrolled, [1, 2], [0]),
    "huber": (PseudoHuber, [1e-6], [0.0]),
    "share": (lambda v: MixedLoss(share=v), [0.0, 1.0], [-0.01, 1.01]),
    "directions": (Sliced, [1, 2], [0]),
    "times of a token bound": (TokenBound, [Uniform(steps=5)], [Uniform()]),
    "times of a masked bound": (MaskedBound, [Uniform()], [Uniform(steps=5)]),
    "times of a mixed loss": (MixedLoss, [Uniform()], [Uniform(steps=5)]),
    "times of a bound": (VariationalBound, [Uniform(steps=5)], [Uniform()]),
    "times of a hybrid": (Hybrid, [Uniform(steps=5)], [Uniform()]),
    "times of a continuous bound": (ContinuousBound, [Uniform(start=0.1)], [Uniform(), Uniform(steps=5)]),
    "mask": (Replace, [0.0, 1.0], [-0.01, 1.01]),
    "walk": (lambda v: Neighbours(EDGES, v), [0.0, 9.0], [-0.01, math.inf]),
    "neighbours": (lambda v: Neighbours.of(torch.randn(4, 2), v), [1, 3], [0, 4]),
    "reach": (Ordinal, [1, 2], [0]),
    "D": (PoissonNoise, [0.5, math.inf], [0.0, -1.0]),
    "units": (lambda v: Learned(units=v), [1], [0]),
    "start of a learned schedule": (lambda v: Learned(start=v), [0.01, 0.99], [0.0, 1.0]),
    "ends of a learned schedule": (lambda v: Learned(1.0, v), [0.9], [1.0, 1.1]),
    "steps of a grid": (lambda v: trailing(VP(), v), [1, 2], [0, MOST + 1]),
    "a grid's smallest level": (lambda v: Karras(sigma_min=v)(EDM(), 2), [0.1], [0.0, 80.0, 99.0]),
    "Langevin's size": (lambda v: next(langevin(lambda x: x.sum(1), torch.zeros(1, 1), v, SeededNoise(0))), [0.1], [0]),
    "times that fall": (bounded, [(1.0, 0.5, 0.0), (0.5, 0.0)], [(1.0, 1.0, 0.0), (1.0, 0.5), (0.0,), (0.5, 1.0, 0.0)]),
    "terms": (lambda v: bounded((1.0, 0.7, 0.5, 0.0), v), [1, 2], [0, 3]),
    "a joint law": (
        lambda v: Chain(Categorical(Fading(), UNIFORM, 3), v),
        [torch.ones(3), torch.ones(3, 3)],
        [torch.ones(2), torch.ones(3, 2), -torch.ones(3), torch.ones(())],
    ),
}


@pytest.mark.parametrize(("make", "good", "bad"), BOUNDS.values(), ids=BOUNDS)
def test_what_is_refused_begins_at_a_bound(make, good, bad):
    begins_at_a_bound(make, good, bad)


def test_tables_that_are_no_schedules():
    for table in (
        AlphaBars((0.9, 0.9)),
        AlphaBars((1.0, 0.5)),
        Linear(0.0, 0.1, count=3),
        Linear(0.1, 1.0, count=3),
        SigmoidBetas(-0.1, 0.1, count=3),
    ):
        with pytest.raises(ValueError, match=r"alpha-bar must fall|every beta"):
            table.at(0.5)
    AlphaBars((0.9, 0.0)).at(0.5)
    with pytest.raises(ValueError, match="variance preserving"):
        ZeroTerminal(EDM())


DEFAULTS = [
    (VP(), VP(beta_min=0.1, beta_max=20.0)),
    (SubVP(), SubVP(beta_min=0.1, beta_max=20.0)),
    (Cosine(), Cosine(s=0.008, log_snr_end=-20.0)),
    (Sigmoid(), Sigmoid(start=-3.0, end=3.0, tau=1.0, log_snr_end=-20.0)),
    (LogLinear(), LogLinear(sigma_min=0.01, sigma_max=50.0, start=1e-3)),
    (EDM(), EDM(sigma_min=0.002, sigma_max=80.0, rho=7.0, start=1e-3)),
    (Linear(), Linear(start=1e-4, end=0.02, count=1000)),
    (ScaledLinear(), ScaledLinear(start=0.00085, end=0.012, count=1000)),
    (SigmoidBetas(), SigmoidBetas(start=1e-4, end=0.02, count=1000)),
    (CosineTable(), CosineTable(s=0.008, count=1000, max_beta=0.999)),
    (Shifted(VP()), Shifted(VP(), shift=3.0)),
    (Learned(), Learned(log_snr_max=13.3, log_snr_min=-5.0, learn_ends=False, units=64, start=1e-3)),
    (Affine(VP()), Affine(VP(), z=GaussianNoise(), sigma_data=1.0)),
    (PoissonNoise(), PoissonNoise(D=2048.0)),
    (Replace(), Replace(mask=0.9)),
    (Ordinal(), Ordinal(reach=1)),
    (Neighbours(EDGES).walk, 4.0),
    (Karras(), Karras(rho=7.0, sigma_min=0.002, sigma_max=80.0)),
    (LogLinearGrid(), LogLinearGrid(sigma_min=0.01, sigma_max=80.0)),
    (Uniform(), Uniform(steps=None, start=0.0, draws=Independent())),
    (LogNormal(), LogNormal(mean=-1.2, std=1.2, draws=Independent())),
    (LogitNormal(), LogitNormal(mean=0.0, std=1.0, draws=Independent())),
    (Importance(), Importance(bins=1000, history=10, explore=0.001, discrete=False, draws=Independent())),
    (Adaptive(), Adaptive(100, (-20.0, 20.0), decay=0.99, explore=0.01, draws=Independent())),
    (TokenBound(), TokenBound(Uniform(steps=1000, draws=LowDiscrepancy()), auxiliary=0.01)),
    (MaskedBound(), MaskedBound(Uniform(draws=LowDiscrepancy()))),
    (Unrolled(), Unrolled(unrolls=2, time=Uniform())),
    (CrossEntropy(), CrossEntropy(Uniform())),
    (Denoising(), Denoising(Uniform(), Simple(), Squared())),
    (PseudoHuber(), PseudoHuber(c=0.00054)),
    (MinSNR(), MinSNR(gamma=5.0)),
    (EDMWeight(), EDMWeight(sigma_data=1.0)),
    (SigmoidWeight(), SigmoidWeight(bias=2.0)),
    (CosineMinSNR(), CosineMinSNR(gamma=5.0)),
    (EDMCurve(), EDMCurve(sigma_data=0.5)),
    (Monotone(), Monotone(EDMCurve())),
    (Integral(), Integral(SigmoidWeight(), (-20.0, 20.0))),
    (MixedLoss(), MixedLoss(Uniform(draws=LowDiscrepancy()), share=0.5, whole=False)),
    (Sliced(), Sliced(directions=1, reduced=True)),
    (ScoreMatching(), ScoreMatching(Sliced(), Uniform())),
    (VariationalBound(), VariationalBound(Uniform(steps=1000))),
    (Hybrid(), Hybrid(Uniform(steps=1000), scale=0.001)),
    (ContinuousBound(), ContinuousBound(Uniform(start=1e-3, draws=LowDiscrepancy()))),
    (ordinal.EXACT, 512),
    (LOG_SNR_RANGE, (-20.0, 20.0)),
    (ClassifierFree(EXACT, 2.0), ClassifierFree(EXACT, 2.0, negative=None, rescale=0.0)),
    (Interval(EXACT, VP()), Interval(EXACT, VP(), low=-math.inf, high=math.inf)),
    (StaticThreshold(EXACT), StaticThreshold(EXACT, low=-1.0, high=1.0)),
    (DynamicThreshold(EXACT), DynamicThreshold(EXACT, quantile=0.995, low=-1.0, high=1.0)),
]


@pytest.mark.parametrize(("plain", "said"), DEFAULTS, ids=[str(said)[:40] for _, said in DEFAULTS])
def test_what_is_left_out_is_as_documented(plain, said):
    assert plain == said


def test_only_a_denoiser_of_numbers_may_learn_a_variance_and_only_a_flow_map_jumps():
    assert not Denoiser(torch.nn.Identity(), P, V()).learned_variance
    assert not TokenDenoiser(torch.nn.Identity(), Categorical(Fading(), UNIFORM, 3)).leave_one_out
    assert not any(kind.learned_variance for kind in (TokenDenoiser, MixedDenoiser, ConditionClassifier, FlowMap))
    assert not any(kind.jumps for kind in (Denoiser, TokenDenoiser, MixedDenoiser, ConditionClassifier))


def test_likelihoods_are_asked_for_over_the_same_range():
    flow, bounds = (inspect.signature(asked).parameters for asked in (log_likelihood, affine_bound))
    assert flow["log_snr"].default == bounds["log_snr"].default == (-12.0, 12.0)
    assert bounds["draws"].default == 16 and bounds["steps"].default is None
    assert flow["probes"].default is None and flow["tolerance"].default == 1e-5


@pytest.mark.parametrize(
    "process",
    [
        Affine(VP(), sigma_data=0.5),
        Categorical(VP(), ABSORBING, 3, torch.float64),
        Mixed(1, Affine(VP(), sigma_data=0.5), Categorical(VP(), ABSORBING, 3)),
    ],
    ids=lambda process: type(process).__name__,
)
def test_noise_is_what_there_is_at_the_end_of_time(process):
    like = torch.zeros(5, 2, dtype=torch.long if isinstance(process, Categorical) else torch.float64)
    start, at_end = (process.start(like, SeededNoise(1), *t) for t in ((), (1.0,)))
    assert torch.equal(start, at_end)
    log_probs = [process.prior(like, *t).log_prob(start) for t in ((), (1.0,), (0.1,))]
    assert torch.equal(log_probs[0], log_probs[1]) and not torch.equal(log_probs[0], log_probs[2])
