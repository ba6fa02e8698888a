"""Forward-backward correction: after a step back, some tokens are lost again and drawn anew, given the others.

An ancestral step draws all tokens independently, so with few steps their dependence is lost. Correction corrupts x_s
to a time between s and t, and steps back to s again. With an exact denoiser this does not change the distribution of
x_s; after steps that were too long it brings it nearer to the right one (Campbell et al. 2022, section 4.4, in
discrete steps; for the mask, remasking).
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
    """An ancestral step, then ``corrections`` times a share ``back`` of it forward and back; 1 + corrections
    evaluations."""

    process: Categorical
    back: float = 0.5
    corrections: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.back <= 1 or self.corrections < 0:
            raise UserError(f"forward-backward needs 0 < back <= 1 and corrections >= 0, not {self}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, after all corrections."""
        step, between = Ancestral(self.process), s + self.back * (t - s)
        x_s, _ = step(denoise, x_t, t, s, None, noise)
        for _ in range(self.corrections):
            x_s, _ = step(denoise, self._lost(x_s, s, between, noise), between, s, None, noise)
        return x_s, None

    def _lost(self, x_s: Tensor, s: float, t: float, noise: Noise) -> Tensor:
        """A draw of q(x_t | x_s)."""
        process = self.process
        start = ALL if s == 0 else process.survival(s)
        probs = process.kernel.forward(F.one_hot(x_s, process.states).to(process.dtype), start, process.survival(t))
        return Discrete(probs.log()).sample(noise)
