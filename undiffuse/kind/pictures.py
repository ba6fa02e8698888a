"""Pictures: channels of pixels, possibly with a label, which is given or drawn with the picture."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from undiffuse.condition.picture import Picture
from undiffuse.core.errors import UserError
from undiffuse.core.operator import Averaged, Brightness, Operator
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import columns, pixels
from undiffuse.data.readers.pictures import fitted, header
from undiffuse.data.task import Edges, Inpainting, SuperResolution, about_one, with_hole
from undiffuse.draw.animation import Frame, film_of_pictures
from undiffuse.draw.pictures import pictures
from undiffuse.draw.save import Rows, Writer, save_archive, save_array, save_sheet
from undiffuse.evaluate.compare import Ruler, ruler_of_pictures
from undiffuse.evaluate.evaluate import Features, of_samples
from undiffuse.kind.answers import answers_sheet
from undiffuse.kind.distance import distance_reporter
from undiffuse.kind.kind import Kind, Reporter, check_shape, check_some
from undiffuse.measure.report import Report
from undiffuse.recipe.recipe import Recipe
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
    widths: ClassVar[tuple[int, ...]] = (32, 48, 64, 96, 128)
    enough: ClassVar[int] = 1_500

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
            if run.task is not None:
                return answers_sheet(run, held_out, seed)
            return pictures(run.sample(SHEET, seed=seed))

        return distance_reporter(self, train, held_out, seed, sheet, novelty=True)

    def widths_of(self, recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, ...]:
        """At least as wide as a place has numbers, where patches are folded: else noise could not pass, and stays."""
        numbers = shape[0] * math.prod(getattr(recipe.model.net, "patch", (1,)))
        return tuple(width for width in self.widths if width >= numbers) or self.widths[-1:]

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """Frechet distance if a classifier is available for its features, else sliced Wasserstein."""
        return ruler_of_pictures(run, train, test)

    def rows(self, run: Run, path: Path, fit: bool = False) -> Tensor:
        """Pictures from an image file, .npy or .npz."""
        x = _read(path, run, run.shape[1:], fit)
        check_shape(x, run, path)
        return x

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """Pictures from an image file, .npy or .npz; the ``mask`` is white where something is to be drawn.

        Without a mask, transparent pixels are drawn.
        """
        x = self.rows(run, path, fit)
        hidden = _transparent(path, run, fit) if mask is None else _covered(mask, run, fit)
        if any(mine not in (1, side) for mine, side in zip(reversed(hidden.shape), reversed(x.shape), strict=False)):
            of, wanted = (" x ".join(map(str, shape)) for shape in (hidden.shape, x.shape))
            raise UserError(f"{mask or path}: a mask of {of}, and the pictures are {wanted}")
        return check_some(Given(x, ~hidden.expand(x.shape)), path if mask is None else mask)

    def low(self, run: Run, path: Path) -> tuple[Tensor, Operator]:
        """Of a whole number of times fewer pixels, in each direction."""
        x = _read(path, run, size=None)
        (channels, *sides), found = run.shape, x.shape[2:]
        factor = sides[0] // max(1, found[0]) if x.ndim == 4 else 0
        if factor < 2 or x.shape[1] != channels or [side * factor for side in found] != sides:
            fewer = [f"{sides[0] // k} x {sides[1] // k}" for k in (2, 4, 8) if not any(side % k for side in sides)]
            raise UserError(
                f"{path}: {' x '.join(map(str, found))} pixels; this run makes {sides[0]} x {sides[1]}, "
                f"of fewer pixels by a whole number of times: {', '.join(fewer) or 'none by 2'}"
            )
        return x, Averaged(factor)

    def to_enlarge(self, run: Run, path: Path) -> Tensor:
        """Of the size and the channels of its condition."""
        size = next(of.size for of in run.specifications.values() if isinstance(of, Picture))
        x = _read(path, run, size=None)
        x = x[None] if x.ndim == 3 else x
        if tuple(x.shape[1:]) != size:
            found, wanted = (" x ".join(map(str, one)) for one in (x.shape[1:], size))
            raise UserError(f"{path}: {found} (channels, height, width), and this run enlarges pictures of {wanted}")
        return x

    def left(self, run: Run, path: Path, mask: Path | None = None, fit: bool = False) -> Tensor:
        """Of fewer pixels; with a hole where the mask is white; or edges, as a picture of the run's size."""
        return LEFT[type(run.task)](self, run, path, mask, fit)

    def grey(self, run: Run, path: Path, fit: bool = False) -> tuple[Tensor, Operator]:
        """Of one channel."""
        if run.shape[0] != 3 or not run.codec.quantised:
            raise UserError(f"{run.folder}: makes pictures without colour, so none can be given one")
        x = _array(path, (1, *run.shape[1:])) if path.suffix.lower() in ARRAYS else None
        x = torch.tensor(_decoded(path, run.shape[1:], fit, grey=True))[None] if x is None else x
        if tuple(x.shape[1:]) != (1, *run.shape[1:]):
            raise UserError(f"{path}: of shape {tuple(x.shape[1:])}, not {(1, *run.shape[1:])}")
        return x, Brightness()


def _low(kind: PicturesKind, run: Run, path: Path, mask: Path | None, fit: bool) -> Tensor:
    return about_one(kind.to_enlarge(run, path))


def _holed(kind: PicturesKind, run: Run, path: Path, mask: Path | None, fit: bool) -> Tensor:
    given = kind.known(run, path, mask, fit=fit)
    return with_hole(about_one(given.x), given.known.all(1, keepdim=True))


def _edges(kind: PicturesKind, run: Run, path: Path, mask: Path | None, fit: bool) -> Tensor:
    array = path.suffix.lower() in ARRAYS
    size = (1, *run.shape[1:])
    x = _array(path, size) if array else torch.tensor(_decoded(path, size[1:], fit, grey=True))[None]
    if tuple(x.shape[1:]) != size:
        raise UserError(f"{path}: edges are of one channel, {size}, not {tuple(x.shape[1:])}")
    return about_one(x)


LEFT: dict[type, Callable[..., Tensor]] = {SuperResolution: _low, Inpainting: _holed, Edges: _edges}


def _read(path: Path, run: Run, size: tuple[int, ...] | None, fit: bool = False) -> Tensor:
    """Pictures (count, channels, height, width) uint8; one in a picture's file, of this size, or of its own if None."""
    if path.suffix.lower() in ARRAYS:
        return _array(path, run.shape)
    if not run.codec.of_bytes:
        raise UserError(f"{path}: this run makes pictures of numbers, not of bytes; give them as .npy")
    x = _decoded(path, size, fit)
    if run.shape[0] != 1:
        return torch.tensor(x)[None]
    if not (fit or (x == x[:1]).all()):
        raise UserError(f"{path}: in colour, and this run makes grey pictures; add --fit to turn it grey")
    return torch.tensor(_decoded(path, size, fit, grey=True))[None]


def _array(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False)
        x = torch.from_numpy(found["x"] if path.suffix.lower() == ".npz" else found)
    except (ValueError, TypeError, KeyError, OSError, EOFError) as error:
        raise UserError(f"{path}: not an array of pictures ({' '.join(str(error).split())[:100]})") from None
    return x.reshape(-1, *shape) if x.ndim < 4 and x.numel() % torch.Size(shape).numel() == 0 else x


def _decoded(path: Path, size: tuple[int, ...] | None, fit: bool, grey: bool = False) -> np.ndarray:
    """A picture's file, (3 or 1, height, width) uint8. Raises UserError for another size, unless it may be scaled."""
    with _opened(path) as opened:
        found = header(opened)
        height, width = size or (found.height, found.width)
        if not fit and (found.height, found.width) != (height, width):
            raise UserError(
                f"{path}: {found.height} x {found.width} pixels, and this run makes {height} x {width}; "
                "add --fit to scale and crop it"
            )
        return fitted(opened, height, width, grey)


@contextmanager
def _opened(path: Path) -> Iterator["Image"]:
    """A picture's file, to be read. Raises UserError for a file that cannot be."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            yield opened
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({error})") from None


def _covered(mask: Path, run: Run, fit: bool) -> Tensor:
    """True where a mask asks for pixels to be drawn, (count, 1 or channels, height, width) bool."""
    if mask.suffix.lower() in ARRAYS:
        return _array(mask, run.shape).bool()
    return torch.tensor(_decoded(mask, run.shape[1:], fit)).amax(0, keepdim=True)[None] > WHITE


def _transparent(path: Path, run: Run, fit: bool) -> Tensor:
    """Where a picture is transparent."""
    from PIL import Image, ImageOps

    unsaid = f"{path}: which of its pixels are known? say --mask FILE, white where they are to be drawn"
    if path.suffix.lower() in ARRAYS:
        raise UserError(unsaid)
    with _opened(path) as opened:
        if not opened.has_transparency_data:
            raise UserError(unsaid)
        alpha = ImageOps.exif_transpose(opened).convert("RGBA").getchannel("A")
        height, width = run.shape[1:]
        return torch.tensor(np.array(ImageOps.fit(alpha, (width, height), Image.Resampling.LANCZOS)) < WHITE)[
            None, None
        ]
