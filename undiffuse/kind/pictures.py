"""Pictures: channels of pixels, possibly with a label, which is given or drawn with the picture."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import columns, pixels
from undiffuse.data.readers.pictures import decode_picture
from undiffuse.draw.animation import Frame, film_of_pictures
from undiffuse.draw.pictures import pictures
from undiffuse.draw.save import Rows, Writer, save_archive, save_array, save_sheet
from undiffuse.evaluate.compare import Ruler, ruler_of_pictures
from undiffuse.evaluate.evaluate import Features, of_samples
from undiffuse.kind.distance import distance_reporter
from undiffuse.kind.kind import Kind, Reporter, check_shape, check_some
from undiffuse.measure.report import Report
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = 64  # pictures on a training's sheet
ARRAYS = (".npy", ".npz")
WHITE = 127  # above it, a mask asks for the pixel to be drawn


@dataclass(frozen=True)
class PicturesKind(Kind):
    """Pictures, (count, channels, height, width) uint8; or float32, of any values."""

    name: ClassVar[str] = "pictures"
    item: ClassVar[str] = "picture"
    items: ClassVar[str] = "pictures"
    called: ClassVar[str] = "pictures of {}"
    writers: ClassVar[Mapping[str, Writer]] = {".png": save_sheet, ".npy": save_array, ".npz": save_archive}
    shown: ClassVar[int] = 64
    filmed: ClassVar[int] = 36
    measured: ClassVar[int] = 1000
    compared: ClassVar[int] = 1000
    reported: ClassVar[int] = 128

    def describe(self, data: Dataset) -> list[str]:
        """The range, mean and deviation of the pixels."""
        if data.x.dtype == torch.uint8:
            return pixels(data)
        names = tuple(f"channel {k + 1}" for k in range(data.shape[0]))
        return columns(Dataset(data.x.movedim(1, 3).flatten(0, 2), columns=names))

    def film(self, run: Run, states: Iterable[Frame], samples: Samples) -> "Iterator[Image]":
        """Pictures that come out of the noise."""
        return film_of_pictures(states)

    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Distances between samples and held-out pictures, on the judge's features where there are labels."""
        return of_samples(run, count, sampling, self.items, features)

    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """The sliced Wasserstein distance, and a sheet of pictures, the labels in turn."""

        def sheet(run: Run, samples: Rows, real: Rows) -> "Image":
            return pictures(run.sample(SHEET, seed=seed))

        return distance_reporter(self, train, held_out, seed, sheet)

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """Frechet distance if a classifier is available for its features, else sliced Wasserstein."""
        return ruler_of_pictures(run, train, test)

    def rows(self, run: Run, path: Path) -> Tensor:
        """Pictures from an image file, .npy or .npz."""
        x = _read(path, run)
        check_shape(x, run, path)
        return x

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False) -> Given:
        """Pictures from an image file, .npy or .npz; the ``mask`` is white where something is to be drawn.

        Without a mask, transparent pixels are drawn.
        """
        x = _read(path, run)
        check_shape(x, run, path)
        hidden = _transparent(path, run) if mask is None else _covered(mask, run)
        return check_some(Given(x, ~hidden.expand(x.shape)), path if mask is None else mask)


def _read(path: Path, run: Run) -> Tensor:
    """Pictures (count, channels, height, width) uint8; one in a picture's file, of the run's size."""
    if path.suffix.lower() not in ARRAYS:
        if not run.codec.quantised:
            raise UserError(f"{path}: this run makes pictures of numbers, not of bytes; give them as .npy")
        return torch.tensor(_decoded(path, run))[None]
    return _array(path, run)


def _array(path: Path, run: Run) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False)
        x = torch.from_numpy(found["x"] if path.suffix.lower() == ".npz" else found)
    except (ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise UserError(f"{path}: not an array of pictures ({' '.join(str(error).split())[:100]})") from None
    return x.reshape(-1, *run.shape) if x.ndim < 4 and x.numel() % torch.Size(run.shape).numel() == 0 else x


def _decoded(path: Path, run: Run) -> np.ndarray:
    from PIL import Image

    channels, height, width = run.shape
    try:
        with Image.open(path) as opened:
            size = opened.height, opened.width
        x = decode_picture(path, height, width, channels == 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error})") from None
    if size != (height, width):
        raise UserError(f"{path}: {size[0]} x {size[1]} pixels, and this run makes {height} x {width}; scale it first")
    return x


def _covered(mask: Path, run: Run) -> Tensor:
    """True where a mask asks for pixels to be drawn, (count, 1 or channels, height, width) bool."""
    if mask.suffix.lower() in ARRAYS:
        return _array(mask, run).bool()
    return torch.tensor(_decoded(mask, run)).amax(0, keepdim=True)[None] > WHITE


def _transparent(path: Path, run: Run) -> Tensor:
    """Where a picture is transparent."""
    from PIL import Image

    if path.suffix.lower() in ARRAYS:
        raise UserError(f"{path}: which of its pixels are known? say --mask FILE, white where they are to be drawn")
    with Image.open(path) as opened:
        if not opened.has_transparency_data:
            raise UserError(f"{path}: which of its pixels are known? say --mask FILE, white where they are to be drawn")
        alpha = np.array(opened.convert("RGBA").getchannel("A"))
    return torch.from_numpy(alpha < WHITE)[None, None]
