"""Pictures with fewer pixels: what the lower stage of a cascade draws."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset

ROWS = 1024  # at once


def smaller(data: Dataset, fewer: int) -> Dataset:
    """Pictures with ``fewer`` times fewer pixels in each direction, and the conditions of the others.

    Raises UserError for other data than pictures, and where their sides do not divide.
    """
    if data.kind != "pictures":
        raise UserError(f"{data.name}: only pictures are made smaller, not {data.kind}")
    height, width = data.shape[1:]
    if height % fewer or width % fewer:
        raise UserError(f"{data.name}: {height} x {width} pixels are not made {fewer} times smaller; change the sizes")
    x = torch.cat([averaged(part, fewer) for part in data.x.split(ROWS)])
    return replace(data, x=x, name=f"{data.name}, {height // fewer} x {width // fewer}")


def averaged(x: Tensor, fewer: int) -> Tensor:
    """Pictures (count, channels, height, width), each square of pixels as its mean; bytes stay bytes."""
    mean = F.avg_pool2d(x.float(), fewer)
    return mean.round().to(torch.uint8) if x.dtype == torch.uint8 else mean
