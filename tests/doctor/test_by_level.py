"""The error by noise level is the variance that the exact denoiser leaves, and no denoiser makes less."""

import torch

from undiffuse.doctor.reference import Wiener, references
from undiffuse.evaluate.by_level import error_by_level
from undiffuse.exact.gaussian import Gaussian
from undiffuse.process import Affine, Cosine, Flow

LEVELS = [-4.0, 0.0, 3.0]
VARIANCES = torch.tensor([4.0, 0.25, 1.0], dtype=torch.float64)


def rows(count=4000):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64) * VARIANCES.sqrt() + 1


def test_the_exact_denoiser_leaves_the_posterior_variance():
    """l/(1 + SNR l) along an axis of variance l, under any schedule."""
    for schedule in (Cosine(), Flow()):
        process = Affine(schedule)
        exact = Gaussian(process, torch.ones(3, dtype=torch.float64), torch.diag(VARIANCES))
        found = error_by_level(exact, process, rows(), LEVELS).mean(1)
        snr = torch.tensor(LEVELS, dtype=torch.float64).exp()[:, None]
        torch.testing.assert_close(found, (VARIANCES / (1 + snr * VARIANCES)).mean(1), rtol=0.05, atol=0)


def test_the_reference_of_a_gaussian_is_its_exact_denoiser():
    process = Affine(Cosine())
    exact = Gaussian(process, torch.ones(3, dtype=torch.float64), torch.diag(VARIANCES))
    fitted, one = error_by_level(Wiener(process, rows()), process, rows(500), LEVELS), rows(500)
    torch.testing.assert_close(fitted.mean(1), error_by_level(exact, process, one, LEVELS).mean(1), rtol=0.02, atol=0)


def test_two_denoisers_see_the_same_noise():
    process = Affine(Cosine())
    seen = []

    def look(x_t, t, conditions):
        seen.append(x_t)
        return x_t

    for _ in range(2):
        error_by_level(look, process, rows(8), [0.0])
    assert torch.equal(*seen)


def test_few_wide_rows_are_better_denoised_by_the_formula():
    """And many narrow ones by the rows themselves."""
    process = Affine(Cosine())
    generator = torch.Generator().manual_seed(0)
    for count, size, best in ((64, 128, 0), (4000, 1, 1)):
        x = torch.randn(2 * count, size, generator=generator).sign() if best else torch.randn(2 * count, size)
        train, new = x[:count], x[count:][:64]
        errors = [float(error_by_level(one, process, new, [2.0]).mean()) for one in references(process, train)]
        assert errors.index(min(errors)) == best
