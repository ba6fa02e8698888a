"""Linear operators that lose something of data: a mask, fewer pixels, less colour, a blur; each with its adjoint.

    A(x)            what is seen of x (batch, *shape)
    A.adjoint(y)    A^T y, so that <A(x), y> = <x, A.adjoint(y)>

They are plain values, and nothing is inverted here; `conjugate_gradients` solves M u = b for what they are part of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Operator(Protocol):
    """A linear function of data, row by row."""

    def __call__(self, x: Tensor) -> Tensor:
        """What is seen of x (batch, *shape)."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose, (batch, *shape)."""
        ...


@dataclass(frozen=True)
class Masked:
    """Some entries; 0 in place of the others. ``known`` is bool, of the data's shape or of one row."""

    known: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """X where it is known."""
        return torch.where(self.known, x, 0.0)

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)


@dataclass(frozen=True)
class Averaged:
    """Pictures of fewer pixels: the mean of every ``factor`` x ``factor`` pixels."""

    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, channels, height/factor, width/factor)."""
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        """Every number in the place of those that it is the mean of, shared among them."""
        spread = y.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)
        return spread / self.factor**2


@dataclass(frozen=True)
class Brightness:
    """One grey channel of colours: their sum with ``weights``, by default the brightness of BT.601."""

    weights: tuple[float, ...] = (0.299, 0.587, 0.114)

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, 1, height, width)."""
        return (x * self._along(x)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """Grey, in every channel by its weight."""
        return y * self._along(y)

    def _along(self, like: Tensor) -> Tensor:
        return like.new_tensor(self.weights).view(-1, 1, 1)


@dataclass(frozen=True)
class Blurred:
    """Pictures under a Gaussian blur of deviation ``radius`` pixels, dark outside their frame."""

    radius: float

    def __call__(self, x: Tensor) -> Tensor:
        """In the shape of x."""
        reach = max(1, round(3 * self.radius))
        places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        kernel = torch.softmax(-0.5 * (places / self.radius) ** 2, 0)
        flat = x.flatten(0, 1)[:, None]
        flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(reach, 0))
        return F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, reach)).view_as(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """The same: a symmetric kernel, and nothing from outside."""
        return self(y)


@dataclass(frozen=True)
class OfScaled:
    """A(by x): what is seen of data that was divided by ``by``, its standard deviations, to be standardised."""

    operator: Operator
    by: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """What is seen of by x."""
        return self.operator(self.by * x)

    def adjoint(self, y: Tensor) -> Tensor:
        """By A^T y."""
        return self.by * self.operator.adjoint(y)


def conjugate_gradients(multiply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """The u with M u = b, row by row, for symmetric positive definite M; b (batch, *shape).

    Exact after as many iterations as M has different eigenvalues, so after one if M is a number (Hestenes and Stiefel
    1952).
    """
    u, residual, direction = torch.zeros_like(b), b, b
    square = _dot(b, b)
    for _ in range(iterations):
        image = multiply(direction)
        along = _dot(direction, image)
        step = torch.where(along > 0, square / along, 0.0)  # 0 where it is solved already
        u, residual = u + step * direction, residual - step * image
        before, square = square, _dot(residual, residual)
        direction = residual + torch.where(before > 0, square / before, 0.0) * direction
    return u


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Row by row, (batch, 1, ..., 1)."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
