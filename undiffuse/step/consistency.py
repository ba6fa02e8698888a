"""Multistep consistency sampling: jump to the data, add fresh noise, jump again (Song et al. 2023, algorithm 1).

    x_0 = X(x_t, t, 0),        x_s = alpha_s x_0 + sigma_s w,        w fresh noise

With exact jumps every x_s has the distribution of q(x_s), whatever the grid. With jumps that err, the fresh noise
forgets the error of all steps before the last.
"""

from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine


@dataclass(frozen=True)
class Consistency:
    """One evaluation a step; with one step, the flow map itself."""

    process: Affine

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, corrupted anew from where the flow through x_t ends."""
        x_0 = denoise(x_t, t)
        return (self.process.corrupt(x_0, s, noise) if s > 0 else x_0), None
