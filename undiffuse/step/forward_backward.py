"""Tokens drawn twice: after a step back, some are lost again and drawn anew, now that their neighbours are known.

An ancestral step draws all tokens independently, which with few steps loses their dependence. Losing some again, up
to a time between, and going back once more leaves the law of x_s as it is where the denoiser is exact, and mends it
where steps were too long (Campbell et al. 2022, section 4.4, in discrete steps; for the mask, remasking).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.distribution import Discrete
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import ALL
from undiffuse.step.ancestral import Ancestral


@dataclass(frozen=True)
class ForwardBackward:
    """An ancestral step, then ``corrections`` times up a share ``back`` of it and down again; two evaluations."""

    process: Categorical
    back: float = 0.5
    corrections: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.back <= 1 or self.corrections < 0:
            raise UserError(f"forward-backward needs 0 < back <= 1 and corrections >= 0, not {self}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, drawn again."""
        step, between = Ancestral(self.process), s + self.back * (t - s)
        x_s, _ = step(denoise, x_t, t, s, None, noise)
        for _ in range(self.corrections):
            x_s, _ = step(denoise, self._lost(x_s, s, between, noise), between, s, None, noise)
        return x_s, None

    def _lost(self, x_s: Tensor, s: float, t: float, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_s)."""
        process = self.process
        start = ALL if s == 0 else process.survival(s)
        law = process.kernel.forward(F.one_hot(x_s, process.states).to(process.dtype), start, process.survival(t))
        return Discrete(law.log()).sample(noise)
