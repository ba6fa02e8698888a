"""Steps with an exact inverse: taken back and taken again, data come back to rounding, whatever the denoiser says."""

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise
from undiffuse.exact import Gaussian, GaussianMixture
from undiffuse.process import EDM, VP, Affine, Cosine, Flow, ZeroTerminal
from undiffuse.sampling.grid import log_snr_uniform, trailing
from undiffuse.sampling.invert import inverted
from undiffuse.sampling.loop import last, trajectory
from undiffuse.step.bdia import BDIA, FromPair, taken_back
from undiffuse.step.ddim import DDIM

SCHEDULES = {"cosine": Cosine(), "VP": VP(), "EDM": EDM(), "flow": Flow(), "zero": ZeroTerminal(VP())}
NOISE = SeededNoise(0)
DATA = torch.tensor([[0.9, -0.4], [-1.2, 0.8], [0.1, 0.0]], dtype=torch.float64)


def mixture(process: Affine) -> GaussianMixture:
    means = torch.tensor([[1.0, -0.5], [-1.0, 1.0]], dtype=torch.float64)
    return GaussianMixture(
        process, torch.tensor([0.4, 0.6]).double(), means, 0.09 * torch.eye(2).double().expand(2, 2, 2)
    )


def again(step, denoise, x_0, times):
    later, before = taken_back(step, denoise, x_0, times)
    return last(trajectory(FromPair(step, before), denoise, later, times[1:], NOISE))


@pytest.mark.parametrize("grid", [trailing, log_snr_uniform])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("gamma", [0.9, 0.96, 1.0])
def test_taken_back_and_taken_again_data_come_back_to_rounding(schedule, gamma, grid):
    process = Affine(schedule)
    times = grid(process.schedule, 25)
    found = again(BDIA(process, gamma), mixture(process), DATA, times)
    torch.testing.assert_close(found, DATA, rtol=0, atol=1e-8)


def test_ddim_taken_back_is_further_off_and_so_is_another_condition():
    process = Affine(Cosine())
    times, denoise = trailing(process.schedule, 25), mixture(process)
    noise = inverted(process.schedule, denoise, DATA, times)
    assert (last(trajectory(DDIM(process), denoise, noise, times, NOISE)) - DATA).abs().max() > 1e-3
    later, before = taken_back(BDIA(process), denoise, DATA, times)
    other = Gaussian(process, torch.tensor([1.0, -0.5]).double(), 0.09 * torch.eye(2).double())
    edited = last(trajectory(FromPair(BDIA(process), before), other, later, times[1:], NOISE))
    assert (edited - DATA).norm(dim=1)[1] > 1 and (edited[1] - other.means[0]).norm() < 1.5  # to the other mode


def test_from_noise_it_samples_better_than_ddim():
    """From one state, as any sampler; its error on a Gaussian's flow is a fraction of DDIM's."""
    process = Affine(Cosine())
    truth = Gaussian(process, torch.zeros(2).double(), torch.diag(torch.tensor([0.3, 1.5]).double() ** 2))
    times = trailing(process.schedule, 40)
    x = process.start(torch.zeros(16, 2).double(), SeededNoise(3), times[0])
    end = truth.flow(x, times[0])
    off = [(last(trajectory(step(process), truth, x, times, NOISE)) - end).abs().max() for step in (BDIA, DDIM)]
    assert off[0] < 0.5 * off[1]


def test_what_cannot_be_taken_back_is_refused():
    process = Affine(Cosine())
    with pytest.raises(UserError, match="above 0 and at most 1, not 0"):
        BDIA(process, 0.0)
    with pytest.raises(UserError, match="cannot be taken back"):
        taken_back(BDIA(process), mixture(process), DATA, (1.0, 0.0))
