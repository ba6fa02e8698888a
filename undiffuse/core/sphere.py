"""Between two vectors along a great circle: the mean of two noises would be too short to be noise (Shoemake 1985).

    slerp(a, b, w) = (sin((1 - w) theta) a + sin(w theta) b)/sin theta,        theta the angle between a and b

The length goes from that of a to that of b, and is constant if they agree. Independent standard normal vectors of many
numbers are nearly orthogonal, and each of these is then nearly standard normal too.
"""

import torch
from torch import Tensor

PARALLEL = 1e-4  # the sine below which two directions are one, or opposite


def slerp(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The vectors at shares w (count,) of the way from a to b, both (*shape): (count, *shape).

    Where a and b are parallel, along the straight line; where they are opposite, there is no one great circle, and
    nothing is promised but the ends.
    """
    x, y = (v.flatten().double() for v in (a, b))
    theta = torch.atan2((x / x.norm() - y / y.norm()).norm(), (x / x.norm() + y / y.norm()).norm()) * 2
    w = w.to(x)[:, None]
    if theta.sin() < PARALLEL:
        between = (1 - w) * x + w * y
    else:
        between = (((1 - w) * theta).sin() * x + (w * theta).sin() * y) / theta.sin()
    return between.to(a.dtype).view(-1, *a.shape)
