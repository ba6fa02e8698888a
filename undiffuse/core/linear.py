"""a x + b y, in one pass over memory.

Diffusion's own arithmetic is linear combinations of states, and at the size of pictures each costs a read and a
write of everything. PyTorch has no a x + b y; `torch.addr` (beta M + alpha u v^T), with M and u the flattened states as
columns and v = [1], is exactly that in one pass, where ``x.mul(a).add_(y, alpha=b)`` makes two
(`benchmarks/step_cost.py` prints both). On CUDA, autocast computes `torch.addr` in half precision, as it does matrix
products, and a state would be rounded to .004; where it is on, two passes are made, by operations that it leaves alone.
"""

from functools import lru_cache

import torch
from torch import Tensor

Number = float | Tensor  # a coefficient: one for all, or one a sample


def expand(coefficient: Number, like: Tensor) -> Number:
    """A coefficient a sample, (batch,), shaped to multiply ``like`` (batch, *shape), in its dtype and device."""
    if isinstance(coefficient, float) or coefficient.ndim == 0:
        return float(coefficient)
    return moved(coefficient, like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


def moved(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``x`` on a device, in another type: cast where it is, then sent, and nobody waits for the device.

    Coefficients are few, so the copy is taken at once, and ``x`` may change while it travels. What comes back to the
    CPU is waited for.
    """
    return x.to(dtype).to(device, non_blocking=device.type != "cpu")


def scale(a: Number, x: Tensor) -> Tensor:
    """A x; ``x`` itself if a is 1 to rounding."""
    return x if isinstance(a, float) and abs(a - 1.0) < 1e-14 else x * expand(a, x)


def combine(a: Number, x: Tensor, b: Number, y: Tensor) -> Tensor:
    """A x + b y, x and y alike (batch, *shape). A fresh tensor: never writes into x or y."""
    if not (isinstance(a, float) and isinstance(b, float)):
        return x * expand(a, x) + y * expand(b, y)
    alike = x.dtype == y.dtype and x.is_contiguous() and y.is_contiguous()
    if alike and not torch.is_autocast_enabled(x.device.type):
        return torch.addr(x.view(-1, 1), y.view(-1), _one(y.dtype, y.device), beta=a, alpha=b).view(x.shape)
    return x.mul(a).add_(y, alpha=b)


@lru_cache(maxsize=16)
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.ones(1, dtype=dtype, device=device)
