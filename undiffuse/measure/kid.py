"""KID, the kernel distance between features, squared (Binkowski et al. 2018), without the bias that FID has.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),          k(x, y) = (x . y/d + 1)^3

over pairs of different rows, so that its mean is 0 for two sets from one distribution, whatever their size.
"""

from torch import Tensor

from undiffuse.measure.rows import precise, rows


def kid(samples: Tensor, data: Tensor) -> float:
    """KID of two sets of features (n, d) and (m, d), at least 2 rows each. Raises UserError as `rows` does."""
    x, y = map(precise, rows(samples, data))
    return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(x: Tensor) -> Tensor:
    """The mean over pairs of different rows."""
    return _kernel(x, x).fill_diagonal_(0).sum() / (len(x) * (len(x) - 1))
