"""Files of partly known numbers: what is NaN, or an empty cell, is to be drawn."""

from pathlib import Path

import numpy as np
import torch

from undiffuse.core.errors import UserError
from undiffuse.kind.kind import check_shape, check_some
from undiffuse.run.given import Given
from undiffuse.run.run import Run


def known_numbers(run: Run, path: Path, mask: Path | None) -> Given:
    """Rows of a .npy, or of a .csv with a header. Raises UserError for a mask, or rows of another shape."""
    if mask is not None:
        raise UserError("numbers that are not known are NaN, or empty cells, in their file; leave --mask out")
    return check_some(Given.missing(_rows(run, path)), path)


def all_numbers(run: Run, path: Path) -> torch.Tensor:
    """Rows of a .npy, or of a .csv with a header, none of it missing. Raises UserError for rows of another shape."""
    x = _rows(run, path)
    if not x.isfinite().all():
        raise UserError(f"{path}: some numbers are missing or infinite; fill them first")
    return x


def _rows(run: Run, path: Path) -> torch.Tensor:
    x = _read(path)
    x = x[None] if tuple(x.shape) == run.shape else x
    check_shape(x, run, path)
    return x


def _read(path: Path) -> torch.Tensor:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix.lower() == ".npy":
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False)).float()
        except (ValueError, TypeError, EOFError) as error:
            raise UserError(f"{path}: not an array of numbers ({error})") from None
    try:
        return torch.from_numpy(np.genfromtxt(path, delimiter=",", skip_header=1, ndmin=2)).float()
    except ValueError as error:
        raise UserError(f"{path}: not a .csv of numbers with a header ({' '.join(str(error).split())[:100]})") from None
