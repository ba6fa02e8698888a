"""The exact denoiser of one Gaussian: a mixture of one, whose probability flow has a closed form.

Along each axis of the covariance the flow only scales, by the ratio of the standard deviations of x_t at the two
times. The order of every ODE sampler is measured against this trajectory.
"""

from torch import Tensor

from undiffuse.core.linear import Number, expand
from undiffuse.exact.mixture import GaussianMixture
from undiffuse.process.affine import Affine


class Gaussian(GaussianMixture):
    """x_0 ~ N(mean, covariance); mean (*shape), covariance (size, size) with size the numbers in one sample."""

    def __init__(self, process: Affine, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(process, mean.new_ones(1), mean[None], covariance[None])

    def flow(self, x_t: Tensor, t: Number, s: Number = 0.0) -> Tensor:
        """Where the probability flow takes x_t from time t to s, forward or back; (batch, *shape), data at s = 0.

        c_s = c_t sqrt((alpha_s^2 l + sigma_s^2)/(alpha_t^2 l + sigma_t^2)) along an axis of variance l.
        """
        now = self._coordinates(x_t, t)
        alpha, sigma, _ = self.process.schedule.at(s)
        alpha, sigma = expand(alpha, now.c), expand(sigma, now.c)
        variance = alpha**2 * self._eigenvalues + sigma**2
        moved = self._back(now.c * (variance / now.variance).sqrt()).view_as(x_t)
        return moved + expand(self.process.schedule.at(s).alpha, moved) * self.means
