"""What every loss is: a function of a denoiser and a batch, which knows what denoisers it can train.

A recipe's loss is asked where a training is planned, before anything is computed: ``loss.check(denoiser)``.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.noise import Noise

D_contra = TypeVar("D_contra", contravariant=True)  # the denoiser


class Loss(ABC, Generic[D_contra]):
    """loss(denoiser, x_0, noise, conditions) -> losses (batch,), of a denoiser of its type.

    Attributes:
        staged: Whether what it asks for changes over the training, by the number of its steps.
    """

    staged: ClassVar[bool] = False

    def check(self, denoiser: D_contra) -> None:  # most losses train any of their type
        """Raises UserError for a denoiser that this does not train, or not all of."""

    @abstractmethod
    def __call__(self, denoiser: D_contra, x_0: Tensor, noise: Noise, conditions: Conditions | None = None) -> Tensor:
        """Losses (batch,) of x_0 (batch, *shape)."""
