"""Toy data: the line and the plane, of which fresh points can always be drawn.

A toy is a function ``(count, generator)`` that returns points ``(count, 1)`` or ``(count, 2)``, float32, or a
pair of points and labels ``(count,)``, int64.
"""

from collections.abc import Callable
from math import pi

import torch
from torch import Generator, Tensor

from undiffuse.condition.label import labelled
from undiffuse.core.errors import UserError, check_seed, nearest
from undiffuse.core.memory import require
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.synthetic.densities import DENSITIES

Toy = Callable[[int, Generator], Tensor | tuple[Tensor, Tensor]]


def swiss_roll(count: int, generator: Generator, noise: float = 0.05) -> Tensor:
    """The seen-from-above half of scikit-learn's swiss roll, over 10: t (cos t, sin t) / 10, t ~ U(3/2 pi, 9/2 pi)."""
    t = 1.5 * pi * (1 + 2 * torch.rand(count, generator=generator))
    return _polar(t / 10, t) + noise * torch.randn(count, 2, generator=generator)


def spiral(count: int, generator: Generator, noise: float = 0.0) -> Tensor:
    """The thin spiral t (cos t, sin t) / 5 pi, t ~ U(1/2 pi, 11/2 pi): the "swiss roll" of Permenter and Yuan's code.

    Theirs is 100 evenly spaced t; here t is random and the points are fresh ones.
    """
    t = pi / 2 + 5 * pi * torch.rand(count, generator=generator)
    return _polar(t / (5 * pi), t) + noise * torch.randn(count, 2, generator=generator)


def moons(count: int, generator: Generator, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles, as scikit-learn's; labelled upper 0, lower 1."""
    lower = torch.randint(2, (count,), generator=generator)
    arc = _polar(torch.ones(count), pi * torch.rand(count, generator=generator))
    x = torch.where(lower[:, None] == 1, torch.tensor([1.0, 0.5]) - arc, arc)
    return x + noise * torch.randn(count, 2, generator=generator), lower


def rings(count: int, generator: Generator, noise: float = 0.02) -> tuple[Tensor, Tensor]:
    """Three concentric circles of radius 1/3, 2/3 and 1, equally likely, labelled from the inside out.

    ``noise`` is across the circle: the radius is normal, the angle uniform.
    """
    k = torch.randint(3, (count,), generator=generator)
    radius = (k + 1) / 3 + noise * torch.randn(count, generator=generator)
    return _polar(radius, 2 * pi * torch.rand(count, generator=generator)), k


def eight_gaussians(count: int, generator: Generator, std: float = 0.1) -> tuple[Tensor, Tensor]:
    """Eight round Gaussians on the circle of radius 2, labelled anticlockwise from the east."""
    k = torch.randint(8, (count,), generator=generator)
    return _polar(torch.tensor(2.0), k * pi / 4) + std * torch.randn(count, 2, generator=generator), k


def checkerboard(count: int, generator: Generator) -> Tensor:
    """The eight dark squares of a 4 x 4 board on [-2, 2)^2, uniform: floor(x) + floor(y) is even."""
    square = torch.randint(8, (count,), generator=generator)
    column, row = square // 2 - 2, square % 2 * 2 - 2
    corner = torch.stack([column, row + column % 2], dim=1)
    return corner + torch.rand(count, 2, generator=generator)


def pinwheel(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Five bent Gaussian blades, labelled by blade (Johnson et al. 2016, figure 1).

    r ~ N(1, 0.3^2), s ~ N(0, 0.1^2), turned by 2 pi k / 5 + exp(r) / 4.
    """
    k = torch.randint(5, (count,), generator=generator)
    radial, across = (torch.randn(count, 2, generator=generator) * torch.tensor([0.3, 0.1])).unbind(1)
    radial = radial + 1
    angle = 2 * pi * k / 5 + 0.25 * radial.exp()
    return _polar(radial, angle) + _polar(across, angle + pi / 2), k


def tree(count: int, generator: Generator, noise: float = 0.01) -> tuple[Tensor, Tensor]:
    """Paths from the root at the origin to the 27 leaves of a tree, labelled by the leaf.

    Branch i of level l has length 2^-l and leaves its parent at (i - 1) times a third of the full turn, halved
    with every level; a point is anywhere on the path to its leaf. The paths share their lower branches, so
    the labels overlap near the root and part further out, which is what a conditional model has to learn.
    """
    leaf = torch.randint(27, (count,), generator=generator)
    along = 3 * torch.rand(count, generator=generator)
    x, heading = torch.zeros(count, 2), torch.full((count,), pi / 2)
    for level in range(3):
        turn = leaf // 3 ** (2 - level) % 3 - 1
        heading = heading + turn * (2 * pi / 3) / 2**level
        x = x + _polar((along - level).clamp(0, 1) / 2**level, heading)
    return x + noise * torch.randn(count, 2, generator=generator), leaf


TOYS: dict[str, Toy] = {
    **DENSITIES,
    "swiss-roll": swiss_roll,
    "spiral": spiral,
    "moons": moons,
    "rings": rings,
    "eight-gaussians": eight_gaussians,
    "checkerboard": checkerboard,
    "pinwheel": pinwheel,
    "tree": tree,
}

LABEL_COUNTS = {"moons": 2, "rings": 3, "eight-gaussians": 8, "pinwheel": 5, "tree": 27}


def toy(name: str, count: int, seed: int = 0, split: str = "train") -> Dataset:
    """``count`` points of a toy. The test split is a fresh draw, not a part of the train split.

    Raises:
        UserError: An unknown toy or split, a seed below 0 or beyond 2^63, or fewer than 2 points asked for.
    """
    if name not in TOYS:
        raise UserError(nearest(name, TOYS, "toy"))
    check_split(split)
    check_seed(seed)
    if count < 2:
        raise UserError(f"{name}: {count} points asked for; at least 2 are needed")
    require(64 * count, f"{name}: {count:,} points")
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    drawn = TOYS[name](count, generator)
    x, labels = drawn if isinstance(drawn, tuple) else (drawn, None)
    label_names = tuple(str(k) for k in range(LABEL_COUNTS.get(name, 0)))
    return Dataset(x, *labelled(labels, label_names), name=name)


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    """radius (cos angle, sin angle), ``(count,) -> (count, 2)``."""
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
