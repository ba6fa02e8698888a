"""Remasking: a step may mask tokens again, so that what was drawn early can be drawn anew (ReMDM, Wang et al. 2025).

    x_t^i a token:    masked with probability sigma, else kept
    x_t^i a mask:     revealed with probability (a_s - (1 - sigma) a_t) / (1 - a_t), else kept            (their eq. 5)

with 0 <= sigma <= min(1, (1 - a_s)/a_t): then x_s has the share a_s of tokens that the process has, whatever sigma, and
so has the marginal q(x_s | x_0) if x_t had its own. At sigma 0 it is the ancestral step; the last step masks nothing.
Their variant by confidence, whose sigma differs from token to token but is 0 at masks, does not keep the marginals.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical
from undiffuse.step.unmask import require_mask


@dataclass(frozen=True)
class Remasking:
    """One step.

    Attributes:
        process: Of masks.
        most: The most of sigma in a step; theirs is .02 for few steps, .008 for many.
        share: Of the largest sigma that keeps the marginals.
    """

    process: Categorical
    most: float = 0.02
    share: float = 1.0

    def __post_init__(self) -> None:
        require_mask(self.process)
        if not (0 <= self.most <= 1 and 0 <= self.share <= 1):
            raise UserError(f"remasking has two shares, from 0 to 1, not {self.most:g} and {self.share:g}")

    def sigma(self, t: float, s: float) -> float:
        """The probability with which a token is masked again."""
        keep = float(self.process.survival(t).keep)
        lose = float(self.process.survival(s).lose) if s > 0 else 0.0
        return min(self.most, self.share * min(1.0, lose / keep if keep > 0 else 1.0))

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s."""
        before, after = self.process.survival(t), self.process.survival(s)
        sigma, kept = self.sigma(t, s), float(after.keep) if s > 0 else 1.0
        reveal = (kept - (1 - sigma) * float(before.keep)) / float(before.lose)
        guess = Discrete(denoise(x_t, t).double().log_softmax(-1)).sample(noise)
        masked, u = x_t == self.process.classes, noise.uniform(guess.double())
        revealed = torch.where(u < reveal, guess, x_t)
        return torch.where(masked, revealed, x_t.masked_fill(u < sigma, self.process.classes)), None
