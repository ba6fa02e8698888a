"""Data of your own: finds the kind of data at a path, and reads it."""

from dataclasses import replace
from pathlib import Path

import torch

from undiffuse.core.errors import UserError, nearest
from undiffuse.core.memory import in_words
from undiffuse.core.paths import path_of
from undiffuse.data.cache import Making, is_large, kept_rows
from undiffuse.data.captions import LEARNED, Captioner
from undiffuse.data.dataset import Dataset, check_split, held_out
from undiffuse.data.readers.array import numpy_file
from undiffuse.data.readers.cifar import cifar, is_cifar
from undiffuse.data.readers.hub import hub
from undiffuse.data.readers.idx import idx, is_idx
from undiffuse.data.readers.pictures import ENDINGS, pictures
from undiffuse.data.readers.pictures import usual_size as pictures_size
from undiffuse.data.readers.points import csv_points
from undiffuse.data.readers.shards import is_shards, shards, shards_size
from undiffuse.data.whole import entry_of

UNDERSTOOD = (
    "a folder of pictures, of .tar files (WebDataset), of IDX files (MNIST) or of CIFAR-10's .bin files, or a file "
    "that ends in .npy, .npz, .csv, .tsv, .tar or .parquet; text to train on is a .txt, with: undiffuse train FILE.txt"
)


def open_data(
    path: str | Path,
    size: int | tuple[int, int] | None = None,
    split: str = "train",
    skip_unreadable: bool = False,
    captioner: Captioner = LEARNED,
) -> Dataset:
    """The data at a path: a folder of pictures, IDX files or CIFAR-10's, or a file of points or pictures.

    If the data has no test split of its own, a tenth is held out, evenly over the labels and always the same.

    Args:
        path: The folder or file.
        size: For pictures in a folder or a .parquet file, the side or ``(height, width)`` to give them; see
            ``pictures``.
        split: ``"train"``, ``"test"`` or ``"all"``.
        skip_unreadable: Leave out pictures that cannot be read, instead of stopping.
        captioner: What makes a condition of the captions of pictures.

    Raises:
        UserError: No data, unknown data, more than one kind of data, or an error of its reader.
    """
    path = existing(path)
    if is_shards(path):
        return shards(path, size, split, skip_unreadable, captioner)
    reads_pictures = path.is_dir() and not _is_binary(path)
    if size is not None and not (reads_pictures or _ending(path) == ".parquet"):
        raise UserError(f"{path}: a size is for folders of pictures and .parquet files; this data has its own")
    if reads_pictures:
        return pictures(path, size, split, skip_unreadable, captioner)
    if path.is_dir() and is_cifar(path):
        return cifar(path, split)
    if path.is_dir() or is_idx(path):
        return idx(path, split)
    data = _read_file(path, size, captioner)
    return _part_on_disk(path, data, split) if is_large(0, data.x.nbytes) else data.part(split)


def _part_on_disk(path: Path, data: Dataset, split: str) -> Dataset:
    """A part of rows that are too large for memory, and may lie in a mapped file: in the cache each part is one piece.

    The rows and their order are those of `Dataset.part`.
    """
    check_split(split)
    if split == "all":
        return data

    def parts() -> tuple[list[int], list[int]]:
        is_test = held_out(len(data), data.conditions, data.specifications, data.name)
        return (~is_test).nonzero()[:, 0].tolist(), is_test.nonzero()[:, 0].tolist()

    entry, dtype = entry_of(path, "rows", data.kind, data.shape), data.x[:0].numpy().dtype
    making = Making(lambda row: data.x[row].numpy(), dtype.name, data.shape, parts, f"copying {len(data):,} rows")
    x, rows, _ = kept_rows(entry, making, split)
    conditions = None if data.conditions is None else data.conditions[torch.tensor(rows)]
    said = f"copied once, and kept in {entry.folder} ({in_words(data.x.nbytes)})"
    return replace(data, x=x, conditions=conditions, notes=(*data.notes, said))


def usual_size(path: Path) -> tuple[int, int] | None:
    """The height and width that pictures get where no size is said, known without decoding them; None for other data.

    Raises UserError for a folder without data.
    """
    if is_shards(path):
        return shards_size(path)
    return pictures_size(path) if path.is_dir() and not _is_binary(path) else None


def existing(path: str | Path) -> Path:
    """The path, if it exists; else a UserError that names similar files."""
    path = path_of(path)
    if not path.exists() and not is_shards(path):
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside, "file or folder") if beside else "no such file or folder"
        raise UserError(f"{path}: {hint}")
    return path


def _is_binary(folder: Path) -> bool:
    """Whether a folder holds MNIST's or CIFAR-10's format; a UserError if it holds pictures, or the other, beside."""
    files = [file for file in folder.iterdir() if file.is_file()]
    kinds = {
        "IDX files": any(is_idx(file) for file in files),
        "CIFAR-10's .bin files": is_cifar(folder),
        "pictures": any(file.suffix.lower() in ENDINGS for file in files),
    }
    held = [kind for kind, is_held in kinds.items() if is_held]
    if len(held) > 1:
        raise UserError(f"{folder}: holds {' and '.join(held)}; give each a folder of its own")
    return bool(held) and held != ["pictures"]


def _ending(path: Path) -> str:
    """``.csv``, or ``.csv.gz``; in small letters."""
    return "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _read_file(path: Path, size: int | tuple[int, int] | None, captioner: Captioner) -> Dataset:
    """A single file, by its ending; ``size`` is for those that hold pictures of any."""
    ending = _ending(path)
    if ending == ".parquet":
        return hub(str(path), size, split="all", captioner=captioner)
    if ending in (".npy", ".npz"):
        return numpy_file(path)
    if ending in (".csv", ".tsv", ".csv.gz", ".tsv.gz"):
        return csv_points(path)
    if ending in ENDINGS:
        raise UserError(f"{path}: one picture; give the folder that it lies in")
    if ending in (".zip", ".tgz", ".rar", ".7z") or ending.endswith(".gz"):
        raise UserError(f"{path}: an archive; unpack it, and give what was in it")
    raise UserError(f"{path}: not understood; data is {UNDERSTOOD}")
