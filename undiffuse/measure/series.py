"""Spectrum and autocorrelation of series, which do not depend on a shift in time.

By a sliced Wasserstein distance, two series that differ only by a small shift are far apart. The two measures below do
not change if a series is shifted (except at its ends).
"""

import torch
from torch import Tensor

from undiffuse.measure.report import Measure, Number
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein

QUIETEST = 1e-6  # of the mean power: a smaller power counts as this


def log_spectrum(x: Tensor, quietest: float | None = None) -> Tensor:
    """ln of the power at every frequency above 0, (count, channels, length/2): |FFT of x less its mean|^2/length.

    Powers below ``quietest`` count as that; unless told, QUIETEST times the mean power of x.
    """
    x = x.double()
    power = torch.fft.rfft(x - x.mean(-1, keepdim=True)).abs().square()[..., 1:] / x.shape[-1]
    least = QUIETEST * float(power.mean()) if quietest is None else quietest
    return power.clamp(min=max(least, torch.finfo(power.dtype).tiny)).log()


def spectrum_distance(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """The sliced Wasserstein distance between the log spectra of series (count, channels, length), in nats."""
    quietest = QUIETEST * float(torch.fft.rfft(y.double()).abs().square()[..., 1:].mean()) / y.shape[-1]
    return sliced_wasserstein(log_spectrum(x, quietest), log_spectrum(y, quietest), seed=seed)


def autocorrelation(x: Tensor) -> Tensor:
    """The mean autocorrelation at lags 1 ... length/2, (channels, length/2), each series by its own variance.

    r(k) = sum over t of (x_t - mean)(x_(t+k) - mean) / sum of (x_t - mean)^2. A constant series has none: 0.
    """
    x = x.double()
    x = x - x.mean(-1, keepdim=True)
    length = x.shape[-1]
    power = torch.fft.rfft(x, n=2 * length).abs().square()  # padded, because the series is not periodic
    products = torch.fft.irfft(power)[..., : length // 2 + 1]
    energy = products[..., :1]
    return torch.where(energy > 0, products[..., 1:] / energy.clamp(min=torch.finfo(x.dtype).tiny), 0.0).mean(0)


def autocorrelation_distance(x: Tensor, y: Tensor) -> float:
    """The root mean square difference between the mean autocorrelations of two sets of series."""
    return float((autocorrelation(x) - autocorrelation(y)).square().mean().sqrt())


SERIES = (
    Measure(
        lambda x, y, seed: [spectrum_distance(x, y, seed)],
        (Number("spectrum", "lower", "how far apart the log spectra are, by sliced Wasserstein, in nats"),),
    ),
    Measure(
        lambda x, y, seed: [autocorrelation_distance(x, y)],
        (Number("autocorrelation", "lower", "the difference of the mean autocorrelations, root mean square"),),
    ),
)
