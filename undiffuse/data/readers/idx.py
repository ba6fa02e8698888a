"""MNIST's own format: a folder of IDX files, gzipped or not, as MNIST, Fashion-MNIST, KMNIST and EMNIST come.

An IDX file is a big-endian header, then the values: two zero bytes, a byte for the type, a byte for the number
of dimensions, and four bytes for each dimension (yann.lecun.com/exdb/mnist).
"""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, check_split
from undiffuse.data.readers.array import from_array, index_labels

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAME = re.compile(
    r"(?P<set>.*?)[-_]?(?P<split>train|t10k|test)[-_.](?P<what>images|labels)[-_.]idx\d[-_.]\w+(\.gz)?", re.I
)


def is_idx(path: Path) -> bool:
    """Whether a file is named as an IDX file: ``train-images-idx3-ubyte``, ``t10k-labels.idx1-ubyte.gz``, ..."""
    return NAME.fullmatch(path.name) is not None


def idx(path: Path, split: str = "train") -> Dataset:
    """The pictures and labels of a folder of IDX files; without a t10k or test file, a tenth is held out.

    A folder of several sets (EMNIST comes as six) is a question: give any one file of the set that is meant.
    EMNIST's pictures are stored transposed and are turned upright here; its labels are named by the mapping file
    (``emnist-letters-mapping.txt``) if that lies beside.

    Raises:
        UserError: A truncated or foreign file, several sets, or no pictures for the split.
    """
    check_split(split)
    folder = path if path.is_dir() else path.parent
    chosen = NAME.fullmatch(path.name) if path.is_file() else None
    which, files = _one_set(folder, chosen["set"] if chosen else None)
    has_test = ("test", "images") in files
    wanted = ("train", "test") if split == "all" and has_test else (split,) if has_test else ("train",)
    missing = [part for part in wanted if (part, "images") not in files]
    if missing:
        raise UserError(f"{folder}: no file of {missing[0]} pictures ({missing[0]}-images-idx3-ubyte, or .gz)")

    pictures = np.concatenate([read_idx(files[part, "images"]) for part in wanted])
    if pictures.dtype.kind not in "iu":
        raise UserError(f"{folder}: pictures are whole numbers from 0 to 255 (uint8), not {pictures.dtype}")
    turned = which.lower().startswith("emnist")
    if turned:
        pictures = pictures.swapaxes(-1, -2)
    labels, names = None, tuple[str, ...]()
    if all((part, "labels") in files for part in wanted):
        known = {part: read_idx(files[part, "labels"]) for part in ("train", "test") if (part, "labels") in files}
        labels, names = index_labels(
            np.concatenate([known[part] for part in wanted]), np.concatenate(list(known.values()))
        )
    notes = ("stored transposed, as EMNIST is: turned upright",) if turned else ()
    names = _mapped(folder / f"{which}-mapping.txt", names)
    data = from_array(pictures, labels, names, name=which or folder.name, notes=notes)
    return data if has_test else data.part(split)


def read_idx(path: Path) -> np.ndarray:
    """One IDX file, gzipped or not, as an array of its own type and shape.

    Raises:
        UserError: It is not an IDX file, or holds fewer or more values than its header promises.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: a truncated or damaged gzip file ({error}); fetch it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES or len(raw) < 4 + 4 * raw[3]:
        raise UserError(f"{path}: not an IDX file, though it is named as one")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    dtype = np.dtype(TYPES[raw[2]])
    promised, held = int(np.prod(shape, dtype=object)) * dtype.itemsize, len(raw) - 4 - 4 * raw[3]
    if promised != held:
        what = "truncated" if held < promised else "too long"
        raise UserError(f"{path}: {what}; its header promises {promised} bytes and it holds {held}")
    values = np.frombuffer(raw, dtype, offset=4 + 4 * raw[3]).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def _one_set(folder: Path, which: str | None) -> tuple[str, dict[tuple[str, str], Path]]:
    """The name of the one set in a folder, and its files by split and content; an unzipped file is preferred."""
    sets: dict[str, dict[tuple[str, str], Path]] = {}
    for file in sorted(folder.iterdir(), reverse=True):
        if name := NAME.fullmatch(file.name):
            part = "train" if name["split"].lower() == "train" else "test"
            sets.setdefault(name["set"], {})[part, name["what"].lower()] = file
    if which is None and len(sets) > 1:
        raise UserError(
            f"{folder}: holds {len(sets)} sets ({', '.join(sorted(sets))}); give one of its files, "
            f"as {next(iter(sets[min(sets)].values()))}"
        )
    which = next(iter(sets)) if which is None else which
    return which, sets[which]


def _mapped(mapping: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Label names through EMNIST's mapping file: a line is a label, then the character codes that it stands for."""
    if not mapping.is_file():
        return names
    lines = (line.split() for line in mapping.read_text().splitlines())
    characters = {line[0]: "".join(chr(int(code)) for code in line[1:]) for line in lines if line}
    return tuple(characters.get(name, name) for name in names)
