"""Entries of x_0 that are known: inpainting, imputing, infilling, a condition that is drawn too, all as one guide.

    Known(denoise, process, x_0, known)          a denoiser in, a denoiser out

Where x_0 is known, the denoiser is shown what its process reveals there, and what it believes is settled: x_0 itself.
The rest is drawn by any sampler. Of tokens under masks, and of rows whose network is told what is given, this is exact
as far as the network is; of pixels it is the replacement of Song et al. 2021 (appendix I.2) on the side of the belief,
an approximation, as the network has never been told which pixels are right.
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
    """A denoiser of data of which some entries are known.

    Attributes:
        denoise: denoise(x_t, t, conditions) -> belief; one that can be told what is given has ``given`` too.
        process: Its process.
        x_0: (*shape,) or (batch, *shape); what it holds where nothing is known does not matter.
        known: Likewise, bool.
        ruled_out: (batch, tokens, classes) bool: classes that a token is known not to be.
    """

    denoise: Callable[..., Any]
    process: Process
    x_0: Tensor
    known: Tensor
    ruled_out: Tensor | None = None

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Any:
        """What is believed, given what is known: of that, the truth."""
        shown = self.process.reveal(x_t, self.x_0, self.known)
        belief = self.denoise(shown, t, conditions, **self.process.hints(self.known))
        return self.process.settle(belief, self.x_0, self.known, self.ruled_out)
