"""Jump: along the probability flow from t to s, as far as asked, in one evaluation of a flow map.

A flow map's X says where to aim for a jump that ends at s (`undiffuse.denoiser.flow_map`); the jump is DDIM's line.
Deterministic; several jumps are for a network that errs less over shorter ways (MeanFlow, shortcut models).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.flow_map import landing
from undiffuse.process.affine import Affine


@dataclass(frozen=True)
class Jump:
    """Exact for an exact flow map, whatever the grid; one evaluation a step."""

    process: Affine

    def __call__(
        self, denoise: Callable[..., Tensor], x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s on the line through x_t toward X(x_t, t, s)."""
        return landing(self.process.schedule, x_t, denoise(x_t, t, s=s), t, s), None
