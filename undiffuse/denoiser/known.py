"""Known entries of x_0: one guide for inpainting, imputing, infilling and conditions that can also be drawn.

    Known(denoise, process, x_0, known)          a denoiser in, a denoiser out

Where x_0 is known, the denoiser sees what its process reveals there, and its belief is x_0 itself. Any sampler draws
the rest. For masked tokens, and for rows whose network is told what is given, this is as exact as the network. For
pixels it is an approximation, because the network is never told which pixels are right: it is the replacement of Song
et al. 2021 (appendix I.2), applied to the belief.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.linear import Number
from undiffuse.process import Process


@dataclass(frozen=True)
class Known:
    """A denoiser of data in which some entries are known.

    Attributes:
        denoise: denoise(x_t, t, conditions) -> belief; one that can be told what is given has ``given`` too.
        process: Its process.
        x_0: (*shape,) or (batch, *shape); unknown entries may hold any value.
        known: Likewise, bool.
        ruled_out: (batch, tokens, classes) bool: classes that a token is known not to be.
    """

    denoise: Callable[..., Any]
    process: Process
    x_0: Tensor
    known: Tensor
    ruled_out: Tensor | None = None

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """The belief, with the known entries set to their true values."""
        shown = self.process.reveal(x_t, self.x_0, self.known)
        belief = self.denoise(shown, t, conditions, **self.process.hints(self.known))
        return self.process.settle(belief, self.x_0, self.known, self.ruled_out)
