"""Diffusion posterior sampling: after any step, the state moves so that its x_0 agrees better with what is seen of it.

    x_s <- x_s - zeta grad_x_t |y - A D(x_t, t)|                        (Chung et al. 2023, algorithm 1 and appendix D)

The length of the move does not depend on how far y - A D is from 0, only its direction, so zeta and the number of steps
go together, and the result is a posterior of no noise that could be named: they choose zeta by eye.
`undiffuse.denoiser.reconstruction` follows Bayes' rule.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.core.operator import Operator
from undiffuse.denoiser.gaussian import Denoise
from undiffuse.denoiser.reconstruction import detached
from undiffuse.process.affine import Belief
from undiffuse.step import Step


@dataclass(frozen=True)
class Pulled:
    """A step, then the move; no further evaluation.

    Attributes:
        step: Whose first evaluation is at x_t.
        operator: A, of data as it diffuses.
        y: What is seen, (batch, ...).
        zeta: How far the state is moved.
    """

    step: Step
    operator: Operator
    y: Tensor
    zeta: float = 1.0

    def __post_init__(self) -> None:
        if not self.zeta >= 0:
            raise UserError(f"zeta must be at least 0, not {self.zeta}")

    def __call__(
        self, denoise: Denoise, x_t: Tensor, t: float, s: float, memory: Any, noise: Noise
    ) -> tuple[Tensor, Any]:
        """x_s of the step, moved."""
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            answer = denoise(x, t)
            mean = answer.mean if isinstance(answer, Belief) else answer
            off = (self.y - self.operator(mean)).flatten(1).square().sum(1)
            (gradient,) = torch.autograd.grad((off + torch.finfo(off.dtype).tiny).sqrt().sum(), x)
        said = detached(answer)
        x_s, memory = self.step(
            lambda at, time: said if time == t and at is x_t else denoise(at, time), x_t, t, s, memory, noise
        )
        return x_s - self.zeta * gradient, memory
