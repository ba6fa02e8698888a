"""RePaint: known entries drawn from q(x_s | x_0) in every step, which is taken several times, with noise in between.

    x_s <- step(x_t),  known entries of x_s <- q(x_s | x_0),  x_t <- q(x_t | x_s),  and again     (Lugmayr et al. 2022)

In one such step the new entries fit the known ones of x_t, whose noise the next step replaces, so the two never agree.
Taken again and again, the noise that the unknown entries were drawn with is forgotten, and they fit known entries of
any noise. It is the replacement of Song et al. 2021 (`undiffuse.denoiser.known`, which keeps one noise) with ``rounds``
times the evaluations; their algorithm 1 with jumps of one step.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.affine import Affine
from undiffuse.step import Step


@dataclass(frozen=True)
class Repainted:
    """A step of one evaluation, ``rounds`` times; only once to the data, to which no noise may be added.

    Attributes:
        step: Any; its memory of earlier steps is not used.
        process: The process.
        x_0: (batch, *shape); unknown entries may hold any value.
        known: Likewise, bool.
        rounds: How often each step is taken.
    """

    step: Step
    process: Affine
    x_0: Tensor
    known: Tensor
    rounds: int = 10

    def __post_init__(self) -> None:
        self.process.require_fresh_noise()
        if self.rounds < 1:
            raise UserError(f"each step is taken at least once, not {self.rounds} times")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Any, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, whose known entries are x_0 with noise of their own."""
        for left in reversed(range(self.rounds if s > 0 else 1)):
            drawn, _ = self.step(denoise, x_t, t, s, None, noise)
            x_s = torch.where(self.known, self.process.corrupt(self.x_0, s, noise), drawn)
            if left:
                x_t = self.process.further(x_s, s, t, noise)
        return x_s, None
