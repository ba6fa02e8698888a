"""Exact denoisers: E[x_0 | x_t] in closed form, the truth against which everything else is tested.

`gaussian`   one Gaussian, with its probability flow
`mixture`    Gaussian mixtures, any covariances; a component can be the condition
`empirical`  a data set: the ideal denoiser, which memorises
`chain`      any joint distribution of a few tokens

Each is a denoiser, `denoise(x_t, t)` with t a number or (batch,), and also has

    log_density(x_t, t)              log q_t(x_t) in nats, (batch,); the data's at t = 0
    sample(count, noise)             data, (count, *shape)
    posterior_sample(x_t, t, noise)  a draw of p(x_0 | x_t)

and, where x is continuous, `score(x_t, t)`. They compute in the dtype and on the device of their parameters.
"""

from undiffuse.exact.chain import Chain
from undiffuse.exact.empirical import Empirical
from undiffuse.exact.gaussian import Gaussian
from undiffuse.exact.mixture import GaussianMixture

__all__ = ["Chain", "Empirical", "Gaussian", "GaussianMixture"]
