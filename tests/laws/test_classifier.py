"""A classifier of noisy data is its formula: averaged features, scaled by the share of the data that is left."""

import pytest
import torch
from conditioned import labels
from torch import Tensor, nn

from undiffuse.denoiser.classifier import ConditionClassifier, multiple
from undiffuse.process import EDM, Affine, Cosine

CLASSES = {"one": 2, "other": 3}


class Features(nn.Module):
    """Says one thing, and remembers what it was shown."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, x: Tensor, routes: Tensor) -> Tensor:
        self.shown, self.level = x, routes
        return self.said


def classifier(said: Tensor, process: Affine) -> ConditionClassifier:
    torch.manual_seed(0)
    return ConditionClassifier(Features(said), said.shape[1], CLASSES, process, lambda log_snr: log_snr).double()


@pytest.mark.parametrize("process", [Affine(Cosine()), Affine(EDM())])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 5)])
@pytest.mark.parametrize("t", [0.6, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)])
def test_the_average_over_the_pixels_is_read_as_far_as_the_data_is_left(process, shape, t):
    said, x_t = torch.randn(shape, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    model = classifier(said, process)
    found = model(x_t, t)
    alpha, sigma, log_snr = (
        torch.as_tensor(value, dtype=torch.float64).reshape(-1, 1) for value in process.schedule.at(t)
    )
    spread = (alpha**2 + sigma**2).sqrt()
    torch.testing.assert_close(model.net.shown, x_t / spread)
    torch.testing.assert_close(model.net.level.reshape(-1, 1), log_snr)
    means = (said * said.sigmoid()).reshape(3, 4, -1).mean(2)
    odds = alpha / spread * means @ model.read.weight.T + model.read.bias
    for name, part in (("one", odds[:, :2]), ("other", odds[:, 2:])):
        torch.testing.assert_close(found[name], part.log_softmax(1).float())


def test_the_log_probability_of_what_is_asked_is_the_sum_of_what_is_present():
    x_t, model = torch.zeros(3, 2, dtype=torch.float64), classifier(torch.randn(3, 4).double(), Affine(Cosine()))
    one, other = model(x_t, 0.4).values()
    asked = labels(one=torch.tensor([1, -1, -1]), other=torch.tensor([2, 0, -1]))
    found = model.log_prob(x_t, 0.4, asked)
    torch.testing.assert_close(found, torch.stack([one[0, 1] + other[0, 2], other[1, 0], torch.tensor(0.0)]))


@pytest.mark.parametrize(("channels", "times"), [(1, 64), (3, 22), (32, 2), (64, 1), (65, 1)])
def test_it_reads_64_features_at_least(channels, times):
    assert multiple(channels) == times
