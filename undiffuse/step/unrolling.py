"""SUNDAE's sampler: again and again, a share of the tokens is drawn anew from what the denoiser makes of all of them.

It starts from any tokens at all and follows no schedule: the denoiser was trained on its own draws (`loss.categorical`,
`Unrolled`), and so mends its mistakes until there are none to be seen (Savinov et al. 2022, section 3.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical


@dataclass(frozen=True)
class Unrolling:
    """One evaluation a step. Each token is drawn anew with probability ``share``, at a ``temperature``: below 1, surer.

    No law of any process. What is still masked at the end is drawn then.
    """

    process: Categorical
    temperature: float = 0.8
    share: float = 0.3

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and 0 < self.share <= 1):
            raise UserError(f"unrolling needs a temperature above 0 and a share in (0, 1], not {self}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, of which a share is new."""
        logits = denoise(x_t, t).double() / self.temperature
        drawn = Discrete(logits.log_softmax(-1)).sample(noise)
        anew = noise.uniform(drawn.double()) < self.share
        if s == 0:
            anew |= x_t >= self.process.classes
        return torch.where(anew, drawn, x_t), None
