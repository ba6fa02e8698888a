"""a x + b y, in one pass over memory.

The arithmetic of samplers is linear combinations of states, and for pictures each one reads and writes all of memory
that they take. PyTorch has no a x + b y, but `torch.addr` (beta M + alpha u v^T), with M and u the flattened states as
columns and v = [1], computes it in one pass, where ``x.mul(a).add_(y, alpha=b)`` takes two
(`benchmarks/step_cost.py` prints both). On CUDA, autocast computes `torch.addr` in half precision, as it does matrix
products, which would round a state to .004. So under autocast two passes are made, by operations that it does not
change.
"""

from functools import lru_cache

import torch
from torch import Tensor

Number = float | Tensor  # a coefficient: one for the batch, or one for each sample


def expand(coefficient: Number, like: Tensor) -> Number:
    """Coefficients (batch,) in a shape that multiplies ``like`` (batch, *shape), in its dtype and on its device."""
    if isinstance(coefficient, float) or coefficient.ndim == 0:
        return float(coefficient)
    return moved(coefficient, like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


def moved(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``x`` on a device, in another type: first cast, then copied without waiting for the device.

    The cast copies ``x`` if the type changes, so that ``x`` may change during the copy. A copy to the CPU is waited
    for.
    """
    return x.to(dtype).to(device, non_blocking=device.type != "cpu")


def scale(a: Number, x: Tensor) -> Tensor:
    """A x; ``x`` itself if a is 1 to rounding."""
    return x if isinstance(a, float) and abs(a - 1.0) < 1e-14 else x * expand(a, x)


def combine(a: Number, x: Tensor, b: Number, y: Tensor) -> Tensor:
    """A x + b y, both (batch, *shape). A new tensor: x and y are not changed."""
    if not (isinstance(a, float) and isinstance(b, float)):
        return x * expand(a, x) + y * expand(b, y)
    alike = x.dtype == y.dtype and x.is_contiguous() and y.is_contiguous()
    if alike and not torch.is_autocast_enabled(x.device.type):
        return torch.addr(x.view(-1, 1), y.view(-1), _one(y.dtype, y.device), beta=a, alpha=b).view(x.shape)
    return x.mul(a).add_(y, alpha=b)


@lru_cache(maxsize=16)
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(1, dtype=dtype, device=device)
