"""Tau-leaping: all jumps from t to s at the rates of t (Campbell et al. 2022, section 4.3).

The reverse process of tokens is a jump process: the posterior of x_s, for s just before t, gives the rate at which x_t
jumps, and to which classes. A leap holds these rates constant from t to s. A token jumps at most once, as classes have
no order in which two jumps could be added: it stays with probability e^(-rate (t - s)).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical

MOMENT = 1e-4  # the share of the interval over which the rates are measured


@dataclass(frozen=True)
class TauLeaping:
    """One evaluation a step, of order 1 in its length. The last step, to the data, is the posterior's own."""

    process: Categorical

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, after jumps at the rates at t."""
        belief = denoise(x_t, t)
        if s == 0:
            return self.process.decoder(x_t, belief, t).sample(noise), None
        elsewhere = self.process.rates(x_t, belief, t, MOMENT * (t - s)) * (t - s)
        rate = elsewhere.sum(-1, keepdim=True)
        leaves = -torch.expm1(-rate)
        probs = torch.where(rate > 0, elsewhere / rate * leaves, 0.0)
        return Discrete(probs.scatter(-1, x_t[..., None], 1 - leaves).log()).sample(noise), None
