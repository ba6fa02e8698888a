"""Ancestral sampling: draw x_s from q(x_s | x_t, x_0), with x_0 as the denoiser believes it.

Written once for every process that has a posterior: DDPM (Ho et al. 2020, algorithm 2), tokens (Austin et al. 2021).
"""

from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise, with_variance
from undiffuse.process import Process


@dataclass(frozen=True)
class Ancestral:
    """One evaluation a step. In the limit of many steps, exact; with few, the law of x_0 given x_t is lost.

    A plain mean is a certain belief, and gives DDPM's variance beta-tilde; with ``v`` = 1 it is beta ("fixed large"). A
    learned variance is what the denoiser's own belief says: hand it `denoiser.belief`.
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
