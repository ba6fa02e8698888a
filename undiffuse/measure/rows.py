"""The input of every measure: two sets of rows, checked and flattened."""

import torch
from torch import Tensor

from undiffuse.core.errors import UserError


def rows(samples: Tensor, data: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """``samples (n, *shape)`` and ``data (m, *shape)`` as ``(n, d)`` and ``(m, d)``: one dtype, one device.

    Float64 stays float64; everything else is measured in float32, on the samples' device.
    Raises ``UserError`` when the shapes differ, when there are fewer than ``least`` rows, or when rows hold NaN
    or infinity.
    """
    if samples.shape[1:] != data.shape[1:] or samples.ndim == 0:
        raise UserError(
            f"the samples have shape {tuple(samples.shape[1:])} and the data {tuple(data.shape[1:])}; "
            "a measure needs rows of one shape"
        )
    dtype = torch.promote_types(torch.promote_types(samples.dtype, data.dtype), torch.float32)
    x, y = (_flat(part, dtype, least, what) for part, what in ((samples, "samples"), (data, "rows of data")))
    return x, y.to(x.device)


def precise(x: Tensor) -> Tensor:
    """In float64, or in float32 if the device has no float64."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def _flat(part: Tensor, dtype: torch.dtype, least: int, what: str) -> Tensor:
    if len(part) < least:
        raise UserError(f"{len(part)} {what}: this measure needs at least {least}")
    flat = part.detach().reshape(len(part), -1).to(dtype)
    broken = int((~flat.isfinite()).any(1).sum())
    if broken:
        raise UserError(f"{broken} of {len(part)} {what} hold NaN or infinite values; mend or remove them first")
    return flat
