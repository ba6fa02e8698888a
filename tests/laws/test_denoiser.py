"""A denoiser is its formula: what its network is given, and what is read from what it says."""

import pytest
import torch
from torch import Tensor, nn

from undiffuse.denoiser.gaussian import Denoiser, noise_level
from undiffuse.denoiser.prediction import V, to_x0
from undiffuse.process import Affine, Cosine


class Says(nn.Module):
    """The same whatever is asked; it remembers what that was."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, x: Tensor, routes: Tensor) -> Tensor:
        self.x, self.level = x, routes
        return self.said


@pytest.mark.parametrize("t", [0.6, torch.tensor([0.1, 0.6], dtype=torch.float64)])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_second_half_of_what_is_said_is_the_variance_and_0_its_middle(channels, learned, t):
    process = Affine(Cosine(), sigma_data=0.5)
    x_t = torch.randn(2, channels, 4, dtype=torch.float64)
    net = Says(torch.randn(2, channels * (1 + learned), 4, dtype=torch.float64))
    denoiser = Denoiser(net, process, V(), learned, encoder=lambda level, conditions: level)
    belief, mean = denoiser.belief(x_t, t), to_x0(V(), process.schedule, x_t, net.said[:, :channels], t)
    for found in (belief.mean, denoiser(x_t, t)):
        torch.testing.assert_close(found, mean)
    if learned:
        torch.testing.assert_close(belief.v, 0.5 + 0.5 * net.said[:, channels:])
    scale = torch.as_tensor(process.input_scale(t)).view(-1, 1, 1)
    torch.testing.assert_close(net.x, (scale * x_t).double())
    torch.testing.assert_close(net.level.double(), torch.as_tensor(process.schedule.at(t).log_snr).double())


@pytest.mark.parametrize(("log_snr", "told"), [(-50.0, -20.0), (-20.0, -20.0), (3.5, 3.5), (20.0, 20.0), (50.0, 20.0)])
def test_a_network_is_told_no_level_beyond_20_either_way_and_on_its_own_device(log_snr, told):
    for level in (log_snr, torch.tensor([log_snr, 0.0], dtype=torch.float64)):
        found = noise_level(level, torch.device("cpu"))
        assert found.flatten()[0] == told and found.dtype == torch.float32 and found.ndim == torch.as_tensor(level).ndim
        assert noise_level(level, torch.device("meta")).device.type == "meta"
        assert noise_level(level, torch.device("cpu"), torch.float64).dtype == torch.float64
