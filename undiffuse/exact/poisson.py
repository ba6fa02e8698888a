"""The Poisson field of point charges: the first Poisson flow's (Xu et al. 2022, PFGM).

Charges lie at (x_i, 0), on the plane z = 0 of a space with one more dimension. At (x, z) their field is

    E = sum_i (x - x_i, z)/(|x - x_i|^2 + z^2)^((N + 1)/2),      N the dimension of x,

the gradient of a potential that obeys Poisson's equation. Its lines lead from the charges to a large half-sphere, and
cross that evenly. Followed back, dx/dz = E_x/E_z, they lead from uniform directions to the charges.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Field(NamedTuple):
    """E, up to a factor of each point."""

    x: Tensor  # (batch, *shape)
    z: Tensor  # (batch,)


def poisson_field(x: Tensor, z: Tensor, charges: Tensor) -> Field:
    """The field of equal ``charges`` (count, *shape) at points x (batch, *shape) and heights z (batch,).

    Divided by sum_i 1/r_i^(N + 1): the mean of (x - x_i, z) with those weights, so that nothing overflows.
    """
    flat, others = x.flatten(1), charges.flatten(1)
    squares = torch.cdist(flat, others).square() + z[:, None] ** 2
    weights = (-0.5 * (flat.shape[1] + 1) * squares.log()).softmax(1)
    return Field(x - (weights @ others).view_as(x), z)


def potential_on_the_line(x: Tensor, z: Tensor, charges: Tensor) -> Tensor:
    """For N = 1, what is constant along each field line: sum_i atan2(z, x - x_i), (batch,).

    In the plane the field is (x - x_i, z)/r^2, the gradient of log r; the angle is its harmonic conjugate.
    """
    return torch.atan2(z[:, None], x[:, None] - charges[None]).sum(1)
