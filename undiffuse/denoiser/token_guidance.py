"""A classifier of masked tokens guides which tokens are drawn (Nisonoff et al. 2024; Schiff et al. 2024).

    p(x_0^i = k | x_t, y) = p(x_0^i = k | x_t) p(y | x_t with token i revealed as k) / p(y | x_t)

Of masks this is Bayes' rule, exactly: that token i is revealed as k says what x_0^i = k says. So with an exact
classifier and denoiser, weight 2 and a token a step, samples have the law of the data given y. The weight is as in
`undiffuse.denoiser.guidance`: 1 is off.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.linear import Number
from undiffuse.denoiser.guidance import Conditional
from undiffuse.process.categorical import Categorical
from undiffuse.process.kernel import ABSORBING


@dataclass(frozen=True)
class TokenClassifier:
    """Logits plus (weight - 1) times what each token would say to the classifier: an evaluation of it for each.

    Attributes:
        log_prob: (x_t, t, conditions) -> log p(y | x_t), (batch,), of tokens (batch, length) with masks.
    """

    denoise: Conditional
    log_prob: Callable[..., Tensor]
    process: Categorical
    weight: float

    def __post_init__(self) -> None:
        if self.process.kernel != ABSORBING:
            raise UserError(f"a classifier guides masked tokens: set the kernel's mask to 1, not {self.process.kernel}")

    def __call__(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """Logits (batch, length, classes); those of a token that is shown stay."""
        logits: Tensor = self.denoise(x_t, t, conditions)
        if self.weight == 1.0:
            return logits
        said = torch.stack([self._of_place(x_t, t, conditions, place) for place in range(x_t.shape[1])], 1)
        masked = (x_t == self.process.classes)[..., None]
        return torch.where(masked, logits + (self.weight - 1) * said.to(logits), logits)

    def _of_place(self, x_t: Tensor, t: Number, conditions: Conditions | None, place: int) -> Tensor:
        """log p(y | x_t with this token revealed), for each class: (batch, classes)."""
        classes = self.process.classes
        revealed = x_t.repeat(classes, 1)
        revealed[:, place] = torch.arange(classes, device=x_t.device).repeat_interleave(len(x_t))
        times = t.repeat(classes) if isinstance(t, Tensor) and t.ndim else t
        asked = None if conditions is None else conditions.repeat(classes)
        return self.log_prob(revealed, times, asked).view(classes, -1).T
