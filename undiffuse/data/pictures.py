"""A folder of pictures of any size, kind and aspect, as one tensor of bytes.

- *Labels*: sub-folders are labels, each with everything below it. A flat folder has none, nor has a single
  sub-folder. Pictures beside sub-folders of pictures are an error: nobody can say what their label is.
- *Splits*: sub-folders called train, test, val, ... and nothing else are splits, with the labels inside them.
- *Size*: the picture is scaled, antialiased, until it just covers the size asked for, and its centre is cropped.
  Without ``size``: the pictures' own if they share one of at most 64 x 64; else a square, the median shorter
  side rounded down to a multiple of 8, at most 64.
- *Channels*: 1 if every picture is gray, else 3. Transparency is laid over white; 16-bit gray is divided by 257,
  not clipped; CMYK and palettes become RGB; colour profiles are ignored.
- *Orientation*: as EXIF says. *Animations*: their first frame.
- *Other files* are ignored, as are hidden ones. Pictures that cannot be read are an error that names the first.
"""

import os
import statistics
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from undiffuse.data.array import index_labels
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (
    *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
)
SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
GRAY = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"))
LARGEST = 64  # the default size's limit: what a laptop trains on

Value = TypeVar("Value")


@dataclass(frozen=True)
class Found:
    """A picture file, with what its place in the folder says about it."""

    path: Path
    split: str | None
    label: str | None


@dataclass(frozen=True)
class Header:
    """What a picture file says about itself before it is decoded; height and width are upright, as EXIF says."""

    height: int
    width: int
    gray: bool
    animated: bool


def pictures(
    folder: Path, size: int | tuple[int, int] | None = None, split: str = "all", skip_unreadable: bool = False
) -> Dataset:
    """Pictures ``(count, channels, height, width)``; ``size`` is a side or ``(height, width)``.

    Size, channels and labels are decided over the whole folder, so that its splits agree.

    Raises:
        UserError: No pictures, pictures beside labelled ones, a size below 1, or pictures that cannot be read
            (with ``skip_unreadable`` those are left out and counted in the notes).
    """
    check_split(split)
    found, notes = find_pictures(folder)
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of decoders, about single pictures
        headers = list(pool.map(_attempt(_read_header), [file.path for file in found]))
        readable = [header for header in headers if isinstance(header, Header)]
        height, width = _choose_size(size, readable, folder) if readable else (1, 1)
        gray = all(header.gray for header in readable)
        if any((header.height, header.width) != (height, width) for header in readable):
            notes.append(f"{_spread(readable)}: scaled and cropped to {height} x {width}")
        if animated := sum(header.animated for header in readable):
            notes.append(f"{animated} with several frames: the first is used")

        has_splits = any(file.split == "test" for file in found)
        chosen = [i for i, file in enumerate(found) if not has_splits or split in ("all", file.split)]
        x = np.empty((len(chosen), 1 if gray else 3, height, width), np.uint8)

        def decode(row: int) -> None:
            header = headers[chosen[row]]
            if isinstance(header, Exception):
                raise header
            x[row] = decode_picture(found[chosen[row]].path, height, width, gray)

        failures = list(pool.map(_attempt(decode), range(len(chosen))))
    kept = np.array([failure is None for failure in failures], dtype=bool)
    if not kept.all():
        first = int(np.argmin(kept))
        bad = f"{np.sum(~kept)} of {len(kept)} pictures cannot be read, the first is {found[chosen[first]].path}"
        if not skip_unreadable:
            raise UserError(f"{bad} ({_reason(failures[first])}); mend or remove them, or skip_unreadable")
        notes.append(f"{bad}: left out")
        x, chosen = x[kept], [i for i, good in zip(chosen, kept, strict=True) if good]

    labels, names = _labels(found, chosen)
    data = Dataset(torch.from_numpy(x), labels, names, "pictures", notes=tuple(notes), name=folder.name)
    return data if has_splits else data.part(split)


def find_pictures(folder: Path) -> tuple[list[Found], list[str]]:
    """The picture files of a folder in a fixed order, and notes on what else was there.

    Raises:
        UserError: No pictures, or pictures beside sub-folders of pictures.
    """
    files = [path for path in _walk(folder) if not any(_hidden(part) for part in path.relative_to(folder).parts)]
    found = [path for path in files if path.suffix.lower() in ENDINGS]
    if not found:
        endings = sorted({path.suffix or path.name for path in files})[:5]
        held = f"only {', '.join(endings)} files" if files else "no files"
        raise UserError(
            f"{folder}: no pictures in it, {held}; pictures end in .png, .jpg, ..., and other data is named by its file"
        )
    tops = {path.relative_to(folder).parts[0] for path in found if path.parent != folder}
    loose = sum(path.parent == folder for path in found)
    if loose and tops:
        raise UserError(
            f"{folder}: {loose} pictures lie beside sub-folders of pictures ({', '.join(sorted(tops)[:3])}); "
            f"sub-folders are labels, so move the loose ones into one, or all into {folder}"
        )
    notes = [f"{len(files) - len(found)} files that are not pictures were ignored"] if len(files) > len(found) else []
    splits = "train" in tops and tops <= set(SPLITS)
    return [_place(path, folder, splits) for path in found], notes


def decode_picture(path: Path, height: int, width: int, gray: bool) -> np.ndarray:
    """One picture as ``(channels, height, width)`` uint8, with 1 channel if ``gray``, else 3."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice what is asked for leaves the filter its work.
        opened.draft(None, (2 * max(height, width),) * 2)
        picture = _over_white(_eight_bits(ImageOps.exif_transpose(opened)))
        fitted = ImageOps.fit(picture.convert("L" if gray else "RGB"), (width, height), Image.Resampling.LANCZOS)
    values = np.asarray(fitted)
    return values[None] if gray else values.transpose(2, 0, 1)


def _eight_bits(picture: "Picture") -> "Picture":
    """16-bit gray as 8-bit gray: 65535 becomes 255. Pillow's own conversion clips everything above 255 to white."""
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its pixels are floating-point; save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _over_white(picture: "Picture") -> "Picture":
    """Alpha, of the picture or of its palette, composited over white."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA"))


def _read_header(path: Path) -> Header:
    from PIL import ExifTags, Image

    with Image.open(path) as picture:
        width, height = picture.size
        if picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # 5 to 8 lie on their side
            width, height = height, width
        return Header(height, width, picture.mode in GRAY, getattr(picture, "is_animated", False))


def _choose_size(size: int | tuple[int, int] | None, headers: list[Header], folder: Path) -> tuple[int, int]:
    """The height and width that every picture gets; see the head of this file."""
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise UserError(f"{folder}: size {height} x {width}; a side is at least 1 pixel")
        return height, width
    sizes = {(header.height, header.width) for header in headers}
    if len(sizes) == 1 and max(headers[0].height, headers[0].width) <= LARGEST:
        return sizes.pop()
    side = min(LARGEST, int(statistics.median(min(header.height, header.width) for header in headers)))
    return (side // 8 * 8, side // 8 * 8) if side >= 8 else (side, side)


def _spread(headers: list[Header]) -> str:
    """The smallest and the largest picture, in words."""
    sizes = sorted({(header.height * header.width, header.height, header.width) for header in headers})
    (_, *least), (_, *most) = sizes[0], sizes[-1]
    words = f"pictures of {least[0]} x {least[1]}"
    return words if least == most else f"{words} to {most[0]} x {most[1]}"


def _labels(found: list[Found], chosen: list[int]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Indices and names of the chosen pictures' labels; none where there are fewer than two labels."""
    every = [file.label for file in found]
    if None in every or len(set(every)) < 2:
        return None, ()
    labels, names = index_labels(np.array([every[i] for i in chosen], dtype=str), np.array(every, dtype=str))
    return torch.from_numpy(labels), names


def _place(path: Path, folder: Path, splits: bool) -> Found:
    """What the sub-folders between ``folder`` and a picture say about it."""
    above = path.relative_to(folder).parts[:-1]
    split, above = (SPLITS[above[0]], above[1:]) if splits else (None, above)
    return Found(path, split, above[0] if above else None)


def _walk(folder: Path) -> Iterable[Path]:
    """Every file below a folder, in a fixed order, through links too."""
    for top, below, names in os.walk(folder, followlinks=True):
        below.sort()
        yield from (Path(top) / name for name in sorted(names))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _attempt(read: Callable[..., Value]) -> Callable[..., Value | Exception]:
    """``read`` with its exception returned, so that all pictures are tried and the unreadable ones counted."""

    def attempted(*arguments: object) -> Value | Exception:
        try:
            return read(*arguments)
        except Exception as error:  # decoders of damaged files raise anything
            return error

    return attempted


def _reason(error: object) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture, whatever its name says"
    return (str(error).splitlines() or [type(error).__name__])[0]
