"""A folder of pictures of any size, kind and aspect, as one tensor of bytes.

- *Conditions*: those in a file ``conditions.csv`` (`beside`), captions (`captions`), and labels.
- *Labels*: sub-folders are labels, each with everything below it. A flat folder has none, nor has a single
  sub-folder. Pictures beside sub-folders of pictures are an error, because their label is unknown.
- *Splits*: sub-folders called train, test, val, ... and nothing else are splits, with the labels inside them.
- *Size*: the picture is scaled, antialiased, until it just covers the requested size, and its centre is cropped.
  Without ``size``: the pictures' own if they share one of at most 64 x 64; else a square, the median shorter
  side rounded down to a multiple of 8, at most 64.
- *Channels*: 1 if every picture is gray, else 3. Transparency is laid over white; 16-bit gray, and 32-bit gray with
  a number above 255, is divided by 257, not clipped; CMYK and palettes become RGB; colour profiles are ignored.
- *Orientation*: as EXIF says. *Animations*: their first frame.
- *Other files* are ignored, as are hidden ones. Pictures that cannot be read are an error that names the first.

Decoding is shared out among threads, and the last two results are kept: a folder that is opened as its train part, and
then as its test part, is decoded once, unless a file has changed. Many or large ones are decoded into a file of the
cache instead (`undiffuse.data.cache`), which is mapped, and is there at once the next time.
"""

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import labelled
from undiffuse.condition.specification import Specification
from undiffuse.core.errors import Caution, UserError
from undiffuse.core.memory import in_words, require
from undiffuse.core.paths import walk
from undiffuse.data.cache import CacheEntry, Making, fingerprint, is_large, kept_rows, remembered
from undiffuse.data.captions import LEARNED, NAME, Captioner
from undiffuse.data.conditioned import together
from undiffuse.data.dataset import Dataset, check_split, held_out
from undiffuse.data.readers.array import index_labels
from undiffuse.data.readers.beside import FILE, beside, places_of
from undiffuse.data.readers.captions import CSV, JSONL, OWN, captions

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (
    *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
)
SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
GRAY = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"))
LARGEST = 64  # the default size's limit: what a laptop trains on


@dataclass(frozen=True)
class Found:
    """A picture file, with its split and label by its place in the folder."""

    path: Path
    split: str | None
    label: str | None
    stamp: tuple[int, ...]  # of the file as it lay there: another if it is written to, or replaced


Told = tuple[Conditions | None, dict[str, Specification], list[str]]  # conditions, what they mean, and notes


class Header(NamedTuple):
    """The header of a picture file, before it is decoded; height and width are upright, as EXIF says."""

    height: int
    width: int
    gray: bool
    animated: bool


class PictureForm(NamedTuple):
    """What every picture becomes."""

    height: int
    width: int
    gray: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return 1 if self.gray else 3, self.height, self.width

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape)


def pictures(
    folder: Path,
    size: int | tuple[int, int] | None = None,
    split: str = "all",
    skip_unreadable: bool = False,
    captioner: Captioner = LEARNED,
) -> Dataset:
    """Pictures ``(count, channels, height, width)``; ``size`` is a side or ``(height, width)``.

    Size, channels and labels are decided over the whole folder, so that its splits agree.

    Raises:
        UserError: No pictures, pictures beside labelled ones, a size below 1, or pictures that cannot be read
            (with ``skip_unreadable`` those are left out and counted in the notes).
    """
    check_split(split)
    found, notes = find_pictures(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders, about single pictures
        warnings.simplefilter("always", Caution)  # of the cache
        headers, broken = _headers(folder, tuple(found))
        height, width = choose_size(size, list(headers.values()), folder)
        frame = PictureForm(height, width, all(header.gray for header in headers.values()))
        has_splits = any(file.split == "test" for file in found)
        kept_on_disk = is_large(len(headers), len(headers) * frame.size)
        if kept_on_disk:
            told = partial(_conditions, folder, found=found, captioner=captioner)
            x, chosen, undecoded, said = _from_cache(folder, list(headers), frame, split, told)
            notes.append(said)
        else:
            wanted = tuple(file for file in headers if not has_splits or split in ("all", file.split))
            x, undecoded = _decode(wanted, frame)
            chosen = [file for file in wanted if file not in undecoded]
    broken = broken | undecoded
    if broken:
        first = min(broken, key=lambda file: file.path)
        bad = f"{len(broken)} of {len(found)} pictures cannot be read, the first is {first.path} ({broken[first]})"
        if not skip_unreadable:
            raise UserError(f"{bad}; repair or remove them, or add --data.skip-unreadable true")
        notes.append(f"{bad}: left out")
    if any((header.height, header.width) != (height, width) for header in headers.values()):
        notes.append(f"{spread(list(headers.values()))}: scaled and cropped to {height} x {width}")
    if animated := sum(header.animated for header in headers.values()):
        notes.append(f"{animated} with several frames: the first is used")
    conditions, specifications, said_too = _conditions(folder, chosen, found, captioner)
    data = Dataset(x, conditions, specifications, "pictures", notes=(*notes, *said_too), name=folder.name)
    return data if has_splits or kept_on_disk else data.part(split)


def usual_size(folder: Path) -> tuple[int, int]:
    """The height and width that pictures of a folder get where no size is said. Raises UserError for no pictures."""
    return choose_size(None, list(_headers(folder, tuple(find_pictures(folder)[0]))[0].values()), folder)


def find_pictures(folder: Path) -> tuple[list[Found], list[str]]:
    """The picture files of a folder in a fixed order, and notes on what else was there.

    Raises:
        UserError: No pictures, or pictures beside sub-folders of pictures.
    """
    above, beside = len(folder.parts), {folder / FILE}
    files = [
        path
        for path in walk(folder)
        if path not in beside
        and path.name not in (*CSV, JSONL)
        and not any(_hidden(part) for part in path.parts[above:])
    ]
    found = [path for path in files if path.suffix.lower() in ENDINGS]
    if not found:
        endings = sorted({path.suffix or path.name for path in files})[:5]
        held = f"only {', '.join(endings)} files" if files else "no files"
        raise UserError(
            f"{folder}: no pictures in it, {held}; pictures end in .png, .jpg, ..., and other data is named by its file"
        )
    tops = {path.parts[above] for path in found if len(path.parts) > above + 1}
    loose = sum(len(path.parts) == above + 1 for path in found)
    if loose and tops:
        raise UserError(
            f"{folder}: {loose} pictures lie beside sub-folders of pictures ({', '.join(sorted(tops)[:3])}); "
            f"sub-folders are labels, so move the loose ones into one, or all into {folder}"
        )
    others = [path for path in files if path.suffix.lower() not in ENDINGS]
    if any(path.suffix == OWN for path in others):
        captioned = {path.with_suffix(OWN) for path in found}
        others = [path for path in others if path not in captioned]
    notes = [f"{len(others)} files that are not pictures were ignored"] if others else []
    splits = "train" in tops and tops <= set(SPLITS)
    return [_place(path, folder, splits) for path in found], notes


def decode_picture(path: Path, height: int, width: int, gray: bool) -> np.ndarray:
    """One picture as ``(channels, height, width)`` uint8, with 1 channel if ``gray``, else 3."""
    from PIL import Image

    with Image.open(path) as opened:
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the requested size leaves enough for the filter.
        opened.draft(None, (2 * max(height, width),) * 2)
        return fitted(opened, height, width, gray)


def fitted(opened: "Picture", height: int, width: int, gray: bool) -> np.ndarray:
    """A picture of any mode, over white, scaled with antialiasing and cropped: (channels, height, width).

    ``opened`` itself is turned upright.
    """
    from PIL import Image, ImageOps

    ImageOps.exif_transpose(opened, in_place=True)  # in place, as what follows: a copy costs a third of decoding
    picture, mode = _over_white(_eight_bits(opened)), "L" if gray else "RGB"
    picture = picture if picture.mode == mode else picture.convert(mode)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    values = np.asarray(picture)
    return values[None] if gray else values.transpose(2, 0, 1)


def _eight_bits(picture: "Picture") -> "Picture":
    """16-bit gray as 8-bit gray: 65535 becomes 255. Pillow's own conversion clips everything above 255 to white.

    Numbers of 32 bits have as many as they need: 8, or 16 where one is above 255.
    """
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its pixels are floating-point; save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    if picture.mode.startswith("I;16") or values.max() > 255:
        values = (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(values.astype(np.uint8))


def _over_white(picture: "Picture") -> "Picture":
    """Alpha, of the picture or of its palette, composited over white."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA"))


def header(picture: "Picture") -> Header:
    """The header of a picture that is opened but not decoded."""
    from PIL import ExifTags

    width, height = picture.size
    # a square's orientation changes nothing here, and reading it, which may come last, decodes a PNG
    if width != height and picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
        width, height = height, width
    return Header(height, width, picture.mode in GRAY, getattr(picture, "is_animated", False))


def _headers(folder: Path, found: tuple[Found, ...]) -> tuple[dict[Found, Header], dict[Found, str]]:
    """The headers that can be read, and why the others cannot; of many pictures they are kept on disk."""
    if is_large(len(found)):
        place = CacheEntry(_name(folder), ("headers", folder.resolve()), _fingerprint(folder, found))
        read = remembered(place, lambda: {"headers": _read_headers(found)})["headers"]
    else:
        read = _read_headers(found)
    each = list(zip(found, read, strict=True))
    return (
        {file: Header(*held) for file, held in each if not isinstance(held, str)},
        {file: held for file, held in each if isinstance(held, str)},
    )


@lru_cache(maxsize=2)
def _read_headers(found: tuple[Found, ...]) -> list[Header | str]:
    """The header of each picture, or why it cannot be read."""
    from PIL import Image

    headers: list[Header | str] = []
    for file in found:
        try:
            with Image.open(file.path) as picture:
                headers.append(header(picture))
        except Exception as error:  # decoders of damaged files raise anything
            headers.append(reason(error))
    return headers


@lru_cache(maxsize=2)
def _decode(files: tuple[Found, ...], frame: PictureForm) -> tuple[torch.Tensor, dict[Found, str]]:
    """The pictures that can be decoded, and why the others cannot."""
    require(3 * len(files) * frame.height * frame.width, f"{len(files):,} pictures of {frame.height} x {frame.width}")
    x = np.empty((len(files), *frame.shape), np.uint8)

    def decode(row: int) -> str | None:
        try:
            x[row] = decode_picture(files[row].path, *frame)
        except Exception as error:  # as above
            return reason(error)
        return None

    with ThreadPoolExecutor() as threads:  # Pillow decodes and scales without the interpreter's lock
        errors = list(threads.map(decode, range(len(files))))
    broken = {file: error for file, error in zip(files, errors, strict=True) if error}
    return torch.from_numpy(x[[error is None for error in errors]] if broken else x), broken


def _from_cache(
    folder: Path, files: list[Found], frame: PictureForm, split: str, conditions: Callable[[list[Found]], Told]
) -> tuple[torch.Tensor, list[Found], dict[Found, str], str]:
    """The pictures of a split, mapped from a file: which they are, why others are not among them, and where they lie.

    The file is made the first time, or when pictures have changed.
    """

    def decode(row: int) -> np.ndarray:
        try:
            return decode_picture(files[row].path, *frame)
        except Exception as error:
            raise ValueError(reason(error)) from None

    def parts() -> tuple[list[int], list[int]]:
        if any(file.split == "test" for file in files):
            is_test = [file.split == "test" for file in files]
        else:
            is_test = held_out(len(files), *conditions(files)[:2], folder.name).tolist()
        rows = range(len(files))
        return [k for k in rows if not is_test[k]], [k for k in rows if is_test[k]]

    place = CacheEntry(_name(folder), ("pictures", folder.resolve(), *frame), _fingerprint(folder, files))
    making = Making(decode, "uint8", frame.shape, parts, f"decoding {len(files):,} pictures")
    x, rows, kept = kept_rows(place, making, split)
    said = f"decoded once, and kept in {place.folder} ({in_words(frame.size * len(files))})"
    return x, [files[row] for row in rows], {files[row]: reason for row, reason in kept.broken}, said


def _name(folder: Path) -> str:
    return folder.resolve().name[:40]


def _fingerprint(folder: Path, files: Sequence[Found]) -> str:
    """Changes with the name, size or time of any file; and of those that say which label a picture has."""
    beside = [(FILE, _stamp(folder / FILE)[1:])]
    return fingerprint([*((str(file.path.relative_to(folder)), file.stamp[1:]) for file in files), *beside])


def choose_size(size: int | tuple[int, int] | None, headers: list[Header], folder: Path) -> tuple[int, int]:
    """The height and width that every picture gets; see the head of this file."""
    if size is not None:
        return sides(size, folder)
    sizes = {(header.height, header.width) for header in headers} or {(1, 1)}
    if len(sizes) == 1 and max(max(sizes)) <= LARGEST:
        return sizes.pop()
    side = min(LARGEST, int(statistics.median(min(header.height, header.width) for header in headers)))
    return (side // 8 * 8, side // 8 * 8) if side >= 8 else (side, side)


def sides(size: int | tuple[int, int], name: str | Path) -> tuple[int, int]:
    """(height, width) of a requested size. Raises UserError, which begins with ``name``, for a side below 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UserError(f"{name}: size {height} x {width}; a side is at least 1 pixel")
    return height, width


def spread(headers: list[Header]) -> str:
    """The smallest and the largest picture, in words."""
    sizes = sorted({(header.height * header.width, header.height, header.width) for header in headers})
    (_, *least), (_, *most) = sizes[0], sizes[-1]
    words = f"pictures of {least[0]} x {least[1]}"
    return words if least == most else f"{words} to {most[0]} x {most[1]}"


def _conditions(folder: Path, kept: list[Found], found: list[Found], captioner: Captioner) -> Told:
    """The conditions of the chosen pictures, with the same meaning in every split; and notes."""
    paths = [file.path for file in found]
    table = beside(folder, paths)
    entries, specifications = dict(table.specified[0]), dict(table.specified[1])
    notes, texts, variants = table.notes, table.captions, {}
    if said := captions(folder, paths, places_of(folder, paths)):
        if texts:
            raise UserError(f"{folder}: captions in {FILE} and in other files; keep one of them")
        texts, notes = said.of, notes + said.notes
    if texts:
        read = captioner([texts.get(k, ()) for k in range(len(found))])
        entries, specifications = together(
            Conditions(entries) if entries else None, specifications, ({NAME: read.entry}, {NAME: read.specification})
        )
        notes, variants = [*notes, *read.notes], {} if read.variants is None else {NAME: read.variants}
    rows = {file: k for k, file in enumerate(found)}
    chosen = torch.tensor([rows[file] for file in kept], dtype=torch.int64)
    entries = {name: entry.each(lambda x: x[chosen]) for name, entry in entries.items()}
    every, specifications = together(*labelled(*_labels(kept, found)), (entries, specifications))
    if not every:
        return None, specifications, notes
    return Conditions(every, {name: others[chosen] for name, others in variants.items()}), specifications, notes


def _labels(kept: list[Found], found: list[Found]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Indices of the kept pictures' labels, and the names of all labels; none where there are fewer than two."""
    every = [file.label for file in found]
    if None in every or len(set(every)) < 2:
        return None, ()
    labels, names = index_labels(np.array([file.label for file in kept], dtype=str), np.array(every, dtype=str))
    return torch.from_numpy(labels), names


def _place(path: Path, folder: Path, splits: bool) -> Found:
    """The split and label of a picture, from the sub-folders between ``folder`` and it."""
    above = path.parts[len(folder.parts) : -1]
    split, above = (SPLITS[above[0]], above[1:]) if splits else (None, above)
    return Found(path, split, above[0] if above else None, _stamp(path))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file is written to or replaced; nothing for a link that leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def reason(error: Exception) -> str:
    """Why a picture cannot be decoded, in a line."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not a picture, whatever its name says"
    return (str(error).splitlines() or [type(error).__name__])[0]
