"""a x + b y, in the fewest passes over memory.

Diffusion's own arithmetic is linear combinations of states; at the size of pictures each costs a read and a
write of everything, so a coefficient that is 1 should cost nothing.
"""

from torch import Tensor

Number = float | Tensor  # a coefficient: one for all, or one a sample


def expand(coefficient: Number, like: Tensor) -> Number:
    """A coefficient a sample, (batch,), shaped to multiply ``like`` (batch, *shape), in its dtype and device."""
    if isinstance(coefficient, float) or coefficient.ndim == 0:
        return float(coefficient)
    return coefficient.to(like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))


def scale(a: Number, x: Tensor) -> Tensor:
    """A x; ``x`` itself if a is 1."""
    return x if isinstance(a, float) and abs(a - 1.0) < 1e-9 else x * expand(a, x)


def combine(a: Number, x: Tensor, b: Number, y: Tensor) -> Tensor:
    """A x + b y: one pass if a = 1, b = 1 or a + b = 1, otherwise two. Never writes into x or y."""
    if not (isinstance(a, float) and isinstance(b, float)):
        return x * expand(a, x) + y * expand(b, y)
    if abs(a - 1.0) < 1e-9:
        return x.add(y, alpha=b)
    if abs(b - 1.0) < 1e-9:
        return y.add(x, alpha=a)
    if abs(a + b - 1.0) < 1e-9:
        return x.lerp(y, b)
    return x.mul(a).add_(y, alpha=b)
