"""Memorisation: are the samples new, or copies of the training set?

Real data that the model never saw is at some distance from the training set. New samples are as far; copies are nearer.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.measure.neighbours import BLOCK, nearest
from undiffuse.measure.rows import rows


class Memorisation(NamedTuple):
    """Distances in the units of the data; ``held_out`` and ``quantile`` are the values for new data."""

    distance: float  # median over samples of the distance to the nearest training example
    held_out: float  # the same, for held-out data
    copied: float  # share of samples no farther from the training set than the threshold
    threshold: float  # the quantile of the held-out data's distances
    quantile: float  # the share of held-out data no farther than that: more than requested if distances tie


def memorisation(
    samples: Tensor, train: Tensor, held_out: Tensor, *, quantile: float = 0.01, block: int = BLOCK
) -> Memorisation:
    """How near ``samples (n, *shape)`` come to ``train (m, *shape)``, beside how near ``held_out`` comes to it.

    A sample counts as copied if its distance to the nearest training example is at most the quantile ``quantile`` of
    the distances of held-out data.
    """
    if not 0 <= quantile <= 1:
        raise UserError(f"quantile must be a share between 0 and 1, not {quantile}")
    ours = nearest_distances(samples, train, block)
    theirs = nearest_distances(held_out, train, block)
    threshold = float(theirs.quantile(quantile, interpolation="lower"))
    return Memorisation(
        distance=float(ours.median()),
        held_out=float(theirs.median()),
        copied=float((ours <= threshold).double().mean()),
        threshold=threshold,
        quantile=float((theirs <= threshold).double().mean()),
    )


def nearest_distances(samples: Tensor, train: Tensor, block: int = BLOCK) -> Tensor:
    """The distance of each of ``samples (n, *shape)`` to its nearest training example: ``(n,)``, on the CPU."""
    x, y = rows(samples, train, least=1)
    distances, _ = nearest(x, y, block=block)
    return distances[:, 0].cpu().to(torch.float64)
