"""SUNDAE's sampler: in every step a share of the tokens is drawn anew from the denoiser's distribution.

It starts from any tokens and follows no schedule. The denoiser was trained on its own draws (`Unrolled` in
`undiffuse.loss.categorical`), so it repairs its own mistakes (Savinov et al. 2022, section 3.3).
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
    """One evaluation a step. Each token is drawn anew with probability ``share``.

    A ``temperature`` below 1 makes likely tokens more likely. This samples no process exactly. Tokens that are still
    masked in the last step are drawn there.
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
        """x_s, with a share of the tokens drawn anew."""
        logits = denoise(x_t, t).double() / self.temperature
        drawn = Discrete(logits.log_softmax(-1)).sample(noise)
        anew = noise.uniform(drawn.double()) < self.share
        if s == 0:
            anew |= x_t >= self.process.classes
        return torch.where(anew, drawn, x_t), None
