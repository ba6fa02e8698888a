"""Steps of samplers: one update rule in each file, a pure function from time t to an earlier time s.

    x_s, memory = step(denoise, x_t, t, s, memory, noise)

A step is given the denoiser, so several evaluations, noise in between and gradients are ordinary code. ``memory`` is
what it passes on to the next step (None at first), so it has no hidden state. ``noise`` is the only randomness. One
loop runs them all, `undiffuse.sampling.loop`; the times come from `undiffuse.sampling.grid`.
"""

from typing import Any, Protocol

from torch import Tensor

from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise


class Step(Protocol):
    """One update. x_t (batch, *shape); 1 >= t > s >= 0; at s = 0 the step ends at the data."""

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Any, noise: Noise
    ) -> tuple[Tensor, Any]:
        """(x_s, memory for the next step)."""
        ...
