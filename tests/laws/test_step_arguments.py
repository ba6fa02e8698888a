"""What a step may be asked for, to the last value that is taken and the first that is not; and what is done unasked."""

import math

import pytest
import torch
from bounds import begins_at_a_bound

from undiffuse.core.errors import UserError
from undiffuse.process import (
    ABSORBING,
    EDM,
    UNIFORM,
    VP,
    Affine,
    Categorical,
    Fading,
    PoissonNoise,
)
from undiffuse.sampling.samplers import SAMPLERS, TOKEN_SAMPLERS
from undiffuse.step.adams_bashforth import AdamsBashforth, in_rho, in_time
from undiffuse.step.ancestral import Ancestral
from undiffuse.step.annealed_langevin import AnnealedLangevin
from undiffuse.step.ddim import DDIM
from undiffuse.step.deis import DEIS
from undiffuse.step.dpm_solver import DPMSolverMultistep, DPMSolverSinglestep
from undiffuse.step.euler import Euler
from undiffuse.step.euler_maruyama import EulerMaruyama
from undiffuse.step.forward_backward import ForwardBackward
from undiffuse.step.gradient_estimation import GradientEstimation
from undiffuse.step.heun import Heun
from undiffuse.step.predictor_corrector import PredictorCorrector
from undiffuse.step.unipc import UniPC
from undiffuse.step.unmask import FirstHitting, MostConfidentFirst
from undiffuse.step.unrolling import Unrolling

P = Affine(VP())
TOKENS, MASKS = (Categorical(Fading(), kernel, 3, torch.float64) for kernel in (UNIFORM, ABSORBING))

BOUNDS = {
    "eta": (lambda v: DDIM(P, v), [0.0, 1.0], [-0.01, 1.01, math.nan]),
    "multistep's eta": (lambda v: DPMSolverMultistep(P, 2, v), [0.0, 1.0], [-0.01, 1.01]),
    "multistep's order": (lambda v: DPMSolverMultistep(P, v), [1, 2, 3], [0, 4, True, 1.5]),
    "unipc's order": (lambda v: UniPC(P, v), [1, 2, 3], [0, 4, True]),
    "unipc's b": (lambda v: UniPC(P, 3, v), [1, 2], [0, 3]),
    "adams-bashforth's order": (lambda v: AdamsBashforth(P, v), [1, 2, 3, 4], [0, 5, True]),
    "churn": (lambda v: Heun(P, v), [0.0, 1.0], [-0.01, 1.01]),
    "mu": (lambda v: GradientEstimation(P, 1.0, v), [0.0, 0.99], [-0.01, 1.0]),
    "gamma": (lambda v: GradientEstimation(P, v), [-1.0, 3.0], [math.inf, math.nan]),
    "repeats": (lambda v: AnnealedLangevin(P, v), [1, 2], [0, -1]),
    "size": (lambda v: AnnealedLangevin(P, 1, v), [0.01, 1.99], [0.0, 2.0]),
    "snr": (lambda v: PredictorCorrector(P, None, v), [0.01, 0.99], [0.0, 1.0]),
    "corrections": (lambda v: PredictorCorrector(P, None, 0.1, v), [0, 1], [-1]),
    "back": (lambda v: ForwardBackward(TOKENS, v), [0.01, 1.0], [0.0, 1.01]),
    "drawn again": (lambda v: ForwardBackward(TOKENS, 0.5, v), [0, 1], [-1]),
    "temperature": (lambda v: Unrolling(TOKENS, v), [0.01, 5.0], [0.0, -0.01]),
    "share": (lambda v: Unrolling(TOKENS, 1.0, v), [0.01, 1.0], [0.0, 1.01]),
}


@pytest.mark.parametrize(("make", "good", "bad"), BOUNDS.values(), ids=BOUNDS)
def test_what_is_refused_begins_at_a_bound(make, good, bad):
    begins_at_a_bound(make, good, bad)


FRESH = (
    lambda p: DDIM(p, 0.01),
    lambda p: DPMSolverMultistep(p, 2, 0.01),
    lambda p: Heun(p, 0.01),
    lambda p: GradientEstimation(p, 1.0, 0.01),
    *(Ancestral, EulerMaruyama, AnnealedLangevin, PredictorCorrector),
)


def test_who_draws_noise_needs_noise_that_is_gaussian():
    flow = Affine(EDM(), PoissonNoise(4.0))
    for make in FRESH:
        with pytest.raises(UserError, match="only Gaussian noise"):
            make(flow)
    for make in (DDIM, DPMSolverMultistep, Heun, GradientEstimation, DPMSolverSinglestep, UniPC, DEIS, Euler):
        make(flow)


def test_the_defaults_are_what_the_documentation_says():
    assert DDIM(P) == DDIM(P, eta=0.0)
    assert Heun(P) == Heun(P, churn=0.0, churn_from=0.0, churn_to=math.inf, churn_std=1.0)
    assert GradientEstimation(P) == GradientEstimation(P, gamma=2.0, mu=0.0)  # the paper's
    assert DPMSolverMultistep(P) == DPMSolverMultistep(P, order=2, eta=0.0)
    assert UniPC(P) == UniPC(P, order=3, b=2)
    assert AdamsBashforth(P) == AdamsBashforth(P, 2, in_rho)
    assert DEIS(P) == AdamsBashforth(P, 4, in_time)
    assert AnnealedLangevin(P) == AnnealedLangevin(P, repeats=20, size=0.062)  # NCSNv2's size
    assert PredictorCorrector(P) == PredictorCorrector(P, predictor=None, snr=0.16, corrections=1)
    assert ForwardBackward(TOKENS) == ForwardBackward(TOKENS, back=0.5, corrections=1)
    assert Unrolling(TOKENS) == Unrolling(TOKENS, temperature=0.8, share=0.3)
    assert MostConfidentFirst(MASKS) == MostConfidentFirst(MASKS, randomness=1.0)
    assert SAMPLERS["deis"].make(P) == DEIS(P) and TOKEN_SAMPLERS["first-hitting"].make(MASKS) == FirstHitting(MASKS)
