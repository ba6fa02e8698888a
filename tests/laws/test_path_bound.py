"""The bound of a plug-in reverse SDE meets the likelihood for the exact score, and stays below it for any other."""

import pytest
import torch

from undiffuse.core.noise import SeededNoise
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process import Affine, Cosine, Flow, LogLinear
from undiffuse.theory.girsanov import path_bound

SCHEDULES = [Cosine(), Flow(), LogLinear(1e-3, 400.0)]


def mixture(process):
    means = torch.tensor([[-1.0, 0.5], [1.0, -0.5]], dtype=torch.float64)
    covariances = torch.diag_embed(torch.tensor([[0.1, 0.4], [0.3, 0.05]], dtype=torch.float64))
    return GaussianMixture(process, torch.tensor([0.3, 0.7], dtype=torch.float64), means, covariances)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("probes", [None, 1])
def test_the_bound_meets_the_likelihood_row_by_row(schedule, probes):
    process = Affine(schedule)
    exact, high = mixture(process), 3.0
    start = float(schedule.time(torch.tensor(high, dtype=torch.float64)))
    rows = process.corrupt(exact.sample(8, SeededNoise(0)), start, SeededNoise(1))
    x = rows.repeat(500, 1)
    found = path_bound(process, exact, x, SeededNoise(2), draws=8, log_snr=(-12.0, high), probes=probes).view(500, 8)
    error = found.std(0) / 500**0.5
    assert ((found.mean(0) - exact.log_density(rows, start)).abs() < 4.5 * error + 0.02).all()
    assert error.max() < 0.3


def test_any_other_score_is_bounded_by_its_error():
    """A score that is off by a constant shift of x_0 loses a bound of 1/2 E integral of |shift|^2 d SNR."""
    process, high = Affine(Flow()), 3.0
    exact = mixture(process)
    start = float(process.schedule.time(torch.tensor(high, dtype=torch.float64)))
    x = process.corrupt(exact.sample(6000, SeededNoise(0)), start, SeededNoise(1))

    def bound(shift):
        denoise = lambda y, t: exact(y, t) + shift  # noqa: E731
        return float(path_bound(process, denoise, x, SeededNoise(2), 8, (-12.0, high)).mean())

    loss = 0.5 * 2 * 0.2**2 * torch.tensor(high).exp()
    assert abs((bound(0.0) - bound(0.2)) - loss) < 0.05 * loss
