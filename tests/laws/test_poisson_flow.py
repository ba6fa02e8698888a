"""The first Poisson flow: its field, its lines, its loss; beside PFGM++ with D = 1."""

import math

import pytest
import torch

from undiffuse.condition.specification import Labels
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.exact.empirical import Empirical
from undiffuse.exact.poisson import poisson_field, potential_on_the_line
from undiffuse.loss.poisson_field import PoissonField
from undiffuse.net import MLP
from undiffuse.process import EDM, Affine, Cosine, LogLinear, PoissonNoise
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.sampling.loop import trajectory
from undiffuse.step.heun import Heun

PROCESS = Affine(LogLinear(1e-3, 40.0), PoissonNoise(1.0))


def normal(count, size, seed=0):
    return SeededNoise(seed).normal(torch.zeros(count, size, dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_flow_of_one_more_dimension_follows_the_field(size):
    """(x - x_0)/z, the slope of PFGM++'s flow with D = 1, is E_x/E_z; and E is the gradient of the potential."""
    charges, x = normal(7, size), 3 * normal(20, size, 1)
    for z in (0.01, 1.0, 30.0):
        height = torch.full((20,), z, dtype=torch.float64)
        field = poisson_field(x, height, charges)
        t = float(PROCESS.schedule.time(torch.tensor(-2 * math.log(z), dtype=torch.float64)))
        slope = (x - Empirical(PROCESS, charges)(x, t)) / z
        assert torch.allclose(field.x / field.z[:, None], slope, rtol=1e-6, atol=1e-8)
        point = torch.cat([x, height[:, None]], 1).requires_grad_()
        squares = (point[:, None] - torch.cat([charges, torch.zeros(7, 1)], 1)[None]).square().sum(2)
        potential = 0.5 * squares.log() if size == 1 else squares ** (0.5 - size / 2) / (1 - size)
        (gradient,) = torch.autograd.grad(potential.sum(), point)
        whole = torch.cat([field.x, field.z[:, None]], 1).detach()
        assert torch.allclose(gradient / gradient.norm(dim=1, keepdim=True), whole / whole.norm(dim=1, keepdim=True))


def test_on_the_line_a_sum_of_angles_is_constant_along_field_lines():
    charges = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    denoise = Empirical(PROCESS, charges[:, None])
    x = torch.linspace(-60, 60, 21, dtype=torch.float64)[:, None]
    times = PROCESS.schedule.time(-2 * torch.linspace(math.log(40), math.log(0.05), 400, dtype=torch.float64)).tolist()
    states = list(trajectory(Heun(PROCESS), denoise, x, times, SeededNoise(0)))
    first, last = (
        potential_on_the_line(s.x[:, 0], torch.full((21,), PROCESS.schedule.at(s.t).sigma).double(), charges)
        for s in (states[0], states[-1])
    )
    assert (last - first).abs().max() < 1e-3


def test_the_prior_crosses_the_plane_as_lines_from_a_half_sphere_do():
    """N = 1, far away: all charges are one, lines are straight, and their angles are uniform."""
    z = PROCESS.start(torch.zeros(1000, 1, dtype=torch.float64), SeededNoise(0))
    angle = torch.atan2(torch.full_like(z, 40.0), z) / math.pi
    assert abs(angle.mean() - 0.5) < 0.04 and abs(angle.var() - 1 / 12) < 0.01


def test_the_loss_is_least_for_the_field_of_its_batch():
    x_0, loss = normal(300, 2), PoissonField()
    denoise = Empirical(PROCESS, x_0)

    class Said:
        process = PROCESS

        def __init__(self, scale):
            self.scale = scale

        def __call__(self, x, t, conditions):
            return self.scale * denoise(x, t)

    least, off = (float(loss(Said(scale), x_0, SeededNoise(1)).mean()) for scale in (1.0, 0.8))
    assert least < 1e-6 and off > 3e-4
    x, z = loss.points(x_0, SeededNoise(1))
    assert z.min() > 0 and 20 < z.max() < 400 and (x - x_0).norm(dim=1).median() > 0.1


def test_a_network_learns_from_it():
    model = GaussianDiffusion(MLP(width=8, depth=1), LogLinear(1e-3, 40.0), PoissonNoise(1.0), loss=PoissonField())
    denoiser = model.build((2,), {})
    model.loss(denoiser, torch.randn(30, 2), Stream()).mean().backward()
    assert float(denoiser.net.head.weight.grad.norm()) > 0


@pytest.mark.parametrize(
    ("process", "labels", "said"),
    [
        (Affine(EDM()), {}, "--z poisson-noise --z.D 1"),
        (Affine(EDM(), PoissonNoise(128.0)), {}, "--z poisson-noise --z.D 1"),
        (Affine(Cosine(), PoissonNoise(1.0)), {}, "alpha = 1"),
        (PROCESS, {"label": Labels(("a", "b"))}, "train PFGM.*--loss denoising"),
    ],
)
def test_what_it_is_not_for_is_said(process, labels, said):
    model = GaussianDiffusion(MLP(width=8, depth=1), process.schedule, process.z, loss=PoissonField())
    with pytest.raises(UserError, match=said):
        model.build((2,), labels)
