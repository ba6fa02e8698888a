"""Discrete flow matching: each token is drawn anew from the belief, as often as the path asks (Gat et al. 2024).

On the path q(x_t | x_0) = a x_0 + (1 - a) noise, a token that jumps to a draw of p(x_0 | x_t) at the rate -a'/(1 - a)
has the path's marginals (their eq. 24; Campbell et al. 2024, proposition 3.2). From t to s it jumps with probability
1 - (1 - a_s)/(1 - a_t). It is not the reverse of the noise: a token that was right may be drawn anew.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import Replace


@dataclass(frozen=True)
class TokenFlow:
    """One evaluation a step. The marginal of each token is exact in any step; tokens that jump together do not see
    each other."""

    process: Categorical

    def __post_init__(self) -> None:
        if not isinstance(self.process.kernel, Replace):
            raise UserError("the flow of tokens is between data and one noise: --kernel replace")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: None, noise: Noise
    ) -> tuple[Tensor, None]:
        """x_s, of which a share (1 - a_s)/(1 - a_t) is x_t."""
        kept = float(self.process.survival(s).lose) / float(self.process.survival(t).lose) if s > 0 else 0.0
        drawn = self.process.decoder(x_t, denoise(x_t, t), t).sample(noise)
        return torch.where(noise.uniform(drawn.double()) < kept, x_t, drawn), None
