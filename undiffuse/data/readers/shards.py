"""WebDataset shards: pictures in .tar files, each with its label and captions beside it.

    photos-000000.tar: cat1.jpg cat1.cls cat2.jpg cat2.txt ...      a key up to the first dot is one sample

- *Which*: a .tar, a folder of them, or a pattern, ``photos-{000000..000099}.tar`` or ``photos-*.tar``. What is missing
  in the numbering is an error that names it.
- *Labels*: ``.cls``; or ``label``, ``class`` or ``cls`` in ``.json``.
- *Captions*: ``.txt``; or ``caption``, ``text`` or ``txt`` in ``.json``.

The shards are read through once, by Python's own tarfile, which says where in the file each picture lies; then the
pictures are decoded on all cores into the cache (`undiffuse.data.cache`). The package webdataset reads shards as a
stream, whose order depends on its workers and its shuffling buffers; here the order is that of any other data.
"""

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import SEEK_END, BytesIO
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import labelled
from undiffuse.core.errors import SHORT, UserError, shown
from undiffuse.data.cache import CacheEntry, Making, fingerprint, kept_rows, remembered
from undiffuse.data.captions import NAME, Captioner
from undiffuse.data.conditioned import together
from undiffuse.data.dataset import Dataset, check_split, held_out
from undiffuse.data.readers.array import index_labels
from undiffuse.data.readers.pictures import (
    ENDINGS,
    Header,
    PictureForm,
    Told,
    choose_size,
    fitted,
    header,
    reason,
    spread,
)

ENDING = ".tar"
LABELS, CAPTIONS = ("label", "class", "cls"), ("caption", "text", "txt")  # in .json
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
NUMBERED = re.compile(r"(.*?)(\d+)\.tar")
BESIDE: tuple[str, ...] = (".cls", ".txt", ".json")  # a picture
BLOCK = 512  # bytes, of which a .tar is made


@dataclass(frozen=True)
class Shelved:
    """A picture in a shard, at ``offset``, of ``size`` bytes, and what is said of it.

    Attributes:
        shard: The name of the file.
        key: What it is called there.
        header: None where it cannot be read, for the reason ``broken``.
    """

    shard: str
    key: str
    offset: int
    size: int
    header: Header | None = None
    broken: str = ""
    label: str | None = None
    captions: tuple[str, ...] = ()


def is_shards(path: Path) -> bool:
    """Whether a path is a shard, a folder of them, or a pattern of their names.

    Raises UserError for a folder that holds pictures beside them.
    """
    if not path.is_dir():
        return path.suffix.lower() == ENDING and (path.is_file() or _is_pattern(path))
    endings = {file.suffix.lower() for file in path.iterdir() if file.is_file()}
    if ENDING in endings and endings & {*ENDINGS}:
        raise UserError(f"{path}: holds pictures beside .tar files; give each a folder of its own")
    return ENDING in endings


def shards(
    path: Path, size: int | tuple[int, int] | None, split: str, skip_unreadable: bool, captioner: Captioner
) -> Dataset:
    """Pictures (count, channels, height, width) with labels and captions; a tenth is held out.

    Raises UserError for shards that are missing or cut off, and for pictures that cannot be read, unless
    ``skip_unreadable``: these are then left out and counted in the notes.
    """
    check_split(split)
    files, gone = _files(path)
    notes = _left_out(path, gone, skip_unreadable)
    stamps = _stamps(files)
    found = _samples(path, files, stamps)
    whole, headers = [one for one in found if one.header], [one.header for one in found if one.header]
    unread = [f"{one.shard}/{one.key} ({one.broken})" for one in found if not one.header]
    notes += _left_out(path, _counted(unread, len(found)), skip_unreadable)
    height, width = choose_size(size, headers, path)
    frame = PictureForm(height, width, all(one.gray for one in headers))
    conditions, specifications, said = _conditions(whole, captioner)

    def decode(row: int) -> np.ndarray:
        from PIL import Image

        with Image.open(BytesIO(_read(path, whole[row]))) as picture:
            return fitted(picture, *frame)

    def parts() -> tuple[list[int], list[int]]:
        is_test = held_out(len(whole), conditions, specifications, path.name)
        return (~is_test).nonzero()[:, 0].tolist(), is_test.nonzero()[:, 0].tolist()

    place = CacheEntry(_name(path), ("shards", path.resolve(), *frame), stamps)
    what = f"decoding {len(whole):,} pictures of {len(files)} shards"
    x, rows, kept = kept_rows(place, Making(decode, "uint8", frame.shape, parts, what), split)
    undecoded = [f"{whole[row].shard}/{whole[row].key} ({why})" for row, why in kept.broken]
    notes += [*said, *_left_out(path, _counted(undecoded, len(found)), skip_unreadable)]
    if any((one.height, one.width) != (height, width) for one in headers):
        notes.append(f"{spread(headers)}: scaled and cropped to {height} x {width}")
    notes.append(f"decoded once, and kept in {place.folder}")
    chosen = None if conditions is None else conditions[torch.tensor(rows, dtype=torch.int64)]
    return Dataset(x, chosen, specifications, "pictures", notes=tuple(notes), name=_name(path))


def shards_size(path: Path) -> tuple[int, int]:
    """The height and width that pictures of shards get where no size is said."""
    files, _ = _files(path)
    found = _samples(path, files, _stamps(files))
    return choose_size(None, [one.header for one in found if one.header], path)


def _counted(bad: Sequence[str], among: int) -> list[str]:
    return [f"{len(bad)} of {among:,} pictures cannot be read, the first is {shown(bad[0])}"] if bad else []


def _left_out(path: Path, wrong: Sequence[str], skipped: bool) -> list[str]:
    """Notes on what is wrong. Raises UserError where it is not to be ``skipped``."""
    if wrong and not skipped:
        raise UserError(f"{path}: {wrong[0]}; repair or fetch what is wrong, or add --data.skip-unreadable true")
    return [f"{each}: left out" for each in wrong]


def _stamps(files: Sequence[Path]) -> str:
    return fingerprint([(str(file), (file.stat().st_size, file.stat().st_mtime_ns)) for file in files])


# ------------------------------------------------------------------------------------------------ which shards


def _is_pattern(path: Path) -> bool:
    return bool(RANGE.search(path.name)) or "*" in path.name


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """The shards that are there, in order, and what is missing among them. Raises UserError where there are none."""
    if path.is_file():
        return [path], []
    if match := RANGE.search(path.name):
        first, last = match.groups()
        numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        named = [path.with_name(RANGE.sub(number, path.name, count=1)) for number in numbers]
        files, gone = [file for file in named if file.is_file()], [file.name for file in named if not file.is_file()]
    else:
        files = sorted(path.glob(f"*{ENDING}") if path.is_dir() else path.parent.glob(path.name))
        gone = _gaps([file.name for file in files])
    if not files:
        raise UserError(f"{path}: no shards there, which are files .tar")
    several = f"{len(gone)} shards are missing, the first is {shown(gone[0], SHORT)}" if gone else ""
    return files, [several] if several else []


def _gaps(names: Sequence[str]) -> list[str]:
    """What is missing between the numbers of each series of names."""
    series: dict[str, list[str]] = {}
    for match in filter(None, map(NUMBERED.fullmatch, names)):
        series.setdefault(match[1], []).append(match[2])
    gone = []
    for prefix, numbers in series.items():
        for one, other in pairwise(sorted(numbers, key=int)):
            between = range(int(one) + 1, min(int(other), int(one) + 1000))
            gone += [f"{prefix}{number:0{len(one)}d}{ENDING}" for number in between]
    return gone


def _name(path: Path) -> str:
    return path.name.partition(".")[0][:40] if not path.is_dir() else path.resolve().name[:40]


# --------------------------------------------------------------------------------------------- what is in them


def _samples(path: Path, files: Sequence[Path], stamps: str) -> list[Shelved]:
    """Every picture; looked for once."""
    place = CacheEntry(_name(path), ("shards", path.resolve()), stamps)
    read = remembered(place, lambda: {"samples": [asdict(one) for file in files for one in _of_shard(file)]})["samples"]
    samples = [
        Shelved(**one | {"header": one["header"] and Header(*one["header"]), "captions": tuple(one["captions"])})
        for one in read
    ]
    if not samples:
        raise UserError(f"{path}: no pictures in its .tar files; pictures end in .png, .jpg, ...")
    return samples


def _of_shard(file: Path) -> Iterator[Shelved]:
    """The pictures of one shard. One that is cut off is a picture that cannot be read, at its end."""
    size = file.stat().st_size
    with file.open("rb") as raw:
        held: dict[str, tarfile.TarInfo] = {}
        key = None
        for member in _members(file, raw):
            if member is None or member.offset_data + member.size > size:
                yield from _sample(file, raw, key, held)
                yield Shelved(file.name, "its end", 0, 0, broken="the shard is cut off")
                return
            name, _, ending = Path(member.name).name.partition(".")
            if not name or not member.isfile():
                continue
            if (this := str(Path(member.name).parent / name)) != key:
                yield from _sample(file, raw, key, held)
                key, held = this, {}
            held["." + ending.lower()] = member
        yield from _sample(file, raw, key, held)


def _members(file: Path, raw: IO[bytes]) -> Iterator[tarfile.TarInfo | None]:
    """What a .tar holds; None where it is cut off: one that is whole ends in zeros."""
    try:
        archive = tarfile.open(fileobj=raw, mode="r:")  # noqa: SIM115  # the file is closed by who opened it
    except tarfile.ReadError as error:
        raise UserError(f"{file}: not a .tar file ({error})") from None
    try:
        while member := archive.next():
            archive.members = []  # type: ignore[attr-defined]  # it would keep them all
            yield member
    except tarfile.ReadError:
        yield None
        return
    raw.seek(-BLOCK, SEEK_END)
    if any(raw.read(BLOCK)):
        yield None


def _sample(file: Path, raw: IO[bytes], key: str | None, held: dict[str, tarfile.TarInfo]) -> Iterator[Shelved]:
    """One picture, opened but not decoded, with what is said of it; nothing without a picture."""
    from PIL import Image

    ending = next((one for one in held if one in ENDINGS), None)
    if key is None or ending is None:
        return
    place, told = held[ending], {one: _text(raw, held[one]) for one in BESIDE if one in held}
    label, captions = _said(told)
    shelved = Shelved(file.name, key, place.offset_data, place.size, label=label, captions=captions)
    raw.seek(place.offset_data)
    try:
        with Image.open(BytesIO(raw.read(place.size))) as picture:
            yield Shelved(**vars(shelved) | {"header": header(picture)})
    except Exception as error:  # decoders of damaged files raise anything
        yield Shelved(**vars(shelved) | {"broken": reason(error)})


def _text(raw: IO[bytes], member: tarfile.TarInfo) -> str:
    raw.seek(member.offset_data)
    return raw.read(member.size).decode("utf-8", errors="replace").strip()


def _said(told: dict[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The label and the captions of a sample."""
    try:
        beside: Any = json.loads(told.get(".json", "{}"))
    except (ValueError, RecursionError):
        beside = {}
    beside = beside if isinstance(beside, dict) else {}
    label = told.get(".cls") or next((str(beside[word]) for word in LABELS if beside.get(word) is not None), None)
    texts = (
        told[".txt"].splitlines() if ".txt" in told else next((beside[word] for word in CAPTIONS if word in beside), [])
    )
    each = texts if isinstance(texts, list) else [texts]
    return label, tuple(text.strip() for text in each if isinstance(text, str) and text.strip())


def _read(path: Path, one: Shelved) -> bytes:
    """The file of a picture."""
    folder = path if path.is_dir() else path.parent
    with (folder / one.shard).open("rb") as raw:
        raw.seek(one.offset)
        return raw.read(one.size)


def _conditions(found: Sequence[Shelved], captioner: Captioner) -> Told:
    """Labels and captions, with the same meaning in every split; and notes."""
    every = [one.label for one in found if one.label is not None]
    labels, names = None, tuple[str, ...]()
    if len(set(every)) > 1:
        numbers = all(label.isdecimal() for label in every)
        known = [(int(label) if numbers else label) for label in every]
        values = [("" if one.label is None else int(one.label) if numbers else one.label) for one in found]
        indices, names = index_labels(np.array(values, dtype=object), np.array(known, dtype=object))
        labels = torch.from_numpy(indices)
    conditions, specifications = labelled(labels, names)
    if not any(one.captions for one in found):
        return conditions, specifications, []
    read = captioner([list(one.captions) for one in found])
    entries, told = together(conditions, specifications, ({NAME: read.entry}, {NAME: read.specification}))
    return Conditions(entries, {} if read.variants is None else {NAME: read.variants}), told, list(read.notes)
