"""Ancestral sampling: draw x_s from q(x_s | x_t, x_0), averaged over the denoiser's belief about x_0.

Written once for every process that has a posterior: DDPM (Ho et al. 2020, algorithm 2), tokens (Austin et al. 2021).
"""

from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise, with_variance
from undiffuse.process import Process


@dataclass(frozen=True)
class Ancestral:
    """One evaluation a step. Exact in the limit of many steps; with few, the spread of x_0 given x_t is lost.

    A belief that is only a mean counts as certain, and gives DDPM's variance beta-tilde; with ``v`` = 1 the variance is
    beta ("fixed large"). For a learned variance, pass `denoiser.belief`.
    """

    process: Process
    v: float | None = None  # of the belief (`process.affine.Belief`); None leaves it to the denoiser

    def __post_init__(self) -> None:
        self.process.require_fresh_noise()

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s ~ posterior(x_t, belief, t, s)."""
        belief = denoise if self.v is None else with_variance(denoise, self.v)
        return self.process.posterior(x_t, belief(x_t, t), t, s).sample(noise), None
