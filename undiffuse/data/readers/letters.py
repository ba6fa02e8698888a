"""Handwritten letters, white on black in 28 x 28 pixels: Chars74K's, or those of any folder in EMNIST's format.

Chars74K (de Campos, Babu and Varma 2009) has every character once from each of 55 writers. That is few, so the letters
of a training writer are used ``copies`` times, each bent and turned a little differently; the writers of the test split
are others, and their letters are left as they are.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.condition.label import labelled, specifications_of
from undiffuse.core.errors import UserError, check_seed
from undiffuse.core.memory import require
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.array import arrays_of
from undiffuse.data.readers.idx import idx, is_idx
from undiffuse.data.readers.place import place

ADVICE = (
    "get EMNIST (nist.gov/itl/products-and-services/emnist-dataset, the gzip archive, and leave only the files of one "
    "set in the folder) or Chars74K's handwritten letters as chars74k_hnd.npz (arrays x64, y, writer, symbols)"
)
SHAPES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"  # capitals, and the small letters that are not small capitals
SIDE = 28


def letters(path: str | None = None, copies: int = 20, seed: int = 0, split: str = "train") -> Dataset:
    """Letters and their names. Small letters of a capital's shape (c, o, s, ...) are not kept apart: ask for capitals.

    A label is called by one character, so that it can be written: where EMNIST's mapping names several ("Aa", as in
    its set of letters), by the first.

    Args:
        path: A folder of EMNIST's IDX files, whose pictures are taken as they are, or ``chars74k_hnd.npz`` or its
            folder.
        copies: How often each training letter of Chars74K is used, each time deformed; 1 leaves them as they are.
        seed: Of the deformations.
        split: ``"train"``, ``"test"`` or ``"all"``.

    Raises:
        UserError: No letters there, with where to get some; copies below 1.
    """
    check_split(split)
    check_seed(seed)
    if copies < 1:
        raise UserError(f"copies must be at least 1, not {copies}")
    found = place("letters", path, ADVICE)
    if found.is_dir() and any(is_idx(file) for file in found.iterdir() if file.is_file()):
        return _first_characters(idx(found, split))
    file = found / "chars74k_hnd.npz" if found.is_dir() else found
    if not file.is_file():
        raise UserError(f"{found}: holds neither IDX files nor chars74k_hnd.npz; {ADVICE}")
    x, labels, test = _chars74k(file)
    rows = torch.arange(len(x)) if split == "all" else (test if split == "test" else ~test).nonzero()[:, 0]
    x, labels = x[rows], labels[rows]
    require(8 * copies * x.nbytes, f"{copies:,} copies of {len(x):,} letters")
    if split == "train" and copies > 1:
        return _named(deformed(x, copies, seed), labels.repeat(copies))
    return _named(shrunk(x), labels)


def _first_characters(data: Dataset) -> Dataset:
    """The same letters, each label called by the first character of its name, if these differ."""
    if not isinstance(data.label_names, tuple):
        return data
    firsts = tuple(name[:1] for name in data.label_names)
    return replace(data, specifications=specifications_of(firsts)) if len(set(firsts)) == len(firsts) else data


def _named(x: Tensor, labels: Tensor) -> Dataset:
    return Dataset(x, *labelled(labels, tuple(SHAPES)), kind="pictures", name="letters")


def _chars74k(file: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (count, 64, 64) of the letters in `SHAPES`, their indices, and which are of writers held out."""
    arrays = arrays_of(file)
    try:
        x, y, writer, symbols = (arrays[name] for name in ("x64", "y", "writer", "symbols"))
    except KeyError as error:
        raise UserError(f"{file}: not Chars74K's letters, without {error}; {ADVICE}") from None
    index = np.array([SHAPES.find(str(symbol)) for symbol in symbols])
    labels = torch.from_numpy(index[y])
    kept = labels >= 0
    every_fifth = torch.from_numpy(writer.astype(np.int64)) % 5 == 0
    return torch.from_numpy(x)[kept], labels[kept], every_fifth[kept]


def shrunk(x: Tensor) -> Tensor:
    """(count, 64, 64) uint8 to (count, 1, 28, 28), antialiased."""
    small = F.interpolate(x[:, None].float(), size=(SIDE, SIDE), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


def deformed(x: Tensor, copies: int, seed: int) -> Tensor:
    """``copies`` of all pictures, one set after the other, (copies x count, 1, 28, 28).

    Each is turned by up to 8 degrees, sheared by .15, scaled by 10% in each direction, shifted by 4%, and bent by a
    smooth random field of 1.5% of its side (Simard et al. 2003).
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([_bent(x, generator) for _ in range(copies)])


def _bent(x: Tensor, generator: torch.Generator) -> Tensor:
    count = len(x)

    def up_to(limit: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * limit

    angle, shear = up_to(8 * torch.pi / 180), up_to(0.15)
    wide, high = 1 + up_to(0.1), 1 + up_to(0.1)
    rows = [
        torch.stack([angle.cos() * wide, -angle.sin() + shear, up_to(0.08)], 1),
        torch.stack([angle.sin(), angle.cos() * high, up_to(0.08)], 1),
    ]
    field = 0.03 * torch.randn(count, 2, 5, 5, generator=generator)
    smooth = F.interpolate(field, size=(2 * SIDE, 2 * SIDE), mode="bicubic", align_corners=True)
    grid = F.affine_grid(torch.stack(rows, 1), [count, 1, 2 * SIDE, 2 * SIDE], align_corners=False)
    drawn = F.grid_sample(x[:, None].float(), grid + smooth.permute(0, 2, 3, 1), align_corners=False)
    return F.avg_pool2d(drawn, 2).round().clamp(0, 255).to(torch.uint8)
