"""Ancestral sampling: draw x_s from q(x_s | x_t, x_0), with x_0 as the denoiser believes it.

Written once for every process that has a posterior: DDPM (Ho et al. 2020, algorithm 2), tokens (Austin et al. 2021).
"""

from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process import Process


@dataclass(frozen=True)
class Ancestral:
    """One evaluation a step. In the limit of many steps, exact; with few, the law of x_0 given x_t is lost.

    For DDPM's variance beta or a learned one, hand it a denoiser whose belief says so: `with_variance(denoise, 1.0)`,
    `denoiser.belief`. A plain mean is a certain belief, and gives beta-tilde.
    """

    process: Process

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s ~ posterior(x_t, belief, t, s)."""
        return self.process.posterior(x_t, denoise(x_t, t), t, s).sample(noise), None
