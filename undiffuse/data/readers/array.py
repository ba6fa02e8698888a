"""Arrays, plain or in .npy and .npz files: points, pictures or series, with labels of any type."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_STORED, ZipInfo

import numpy as np
import torch

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import Names, labelled
from undiffuse.condition.specification import Numbers, Specification
from undiffuse.core.errors import UserError
from undiffuse.data.cache import is_large
from undiffuse.data.conditioned import CONDITION, with_numbers
from undiffuse.data.dataset import Dataset

DATA = ("x", "data", "points", "images", "samples", "arr_0")  # what an array of an .npz may be called
LABELS = ("y", "label", "labels", "class", "target", "arr_1")


def from_array(
    array: np.ndarray,
    labels: np.ndarray | None = None,
    label_names: Names = (),
    name: str = "the array",
    notes: tuple[str, ...] = (),
    attributes: Sequence[str] = (),
    called: str = "y",
) -> Dataset:
    """Points from ``(count,)`` or ``(count, columns)`` numbers, pictures from three or four dimensions of bytes.

    Floats are series, ``(count, channels, length)``, or pictures of four dimensions whose values are kept as they are.
    Other pictures are whole numbers from 0 to 255, ``(count, height, width)``, ``(count, channels, height, width)``
    or ``(count, height, width, channels)``. The channels are the second dimension, unless only the last is
    4 or less. ``labels`` that are floats with fractions are conditions of numbers: one called ``called``, of a number a
    column, or one for each of the ``attributes``. ``labels`` of any other type, ``(count,)`` or ``(count,
    attributes)``, are indexed by :func:`index_labels`, unless ``label_names`` names them; ``attributes`` are called
    "1", "2", ... unless they have names. Where no label is known, there are none.

    Raises:
        UserError: Text, objects or complex numbers; pictures that are not bytes; whatever Dataset refuses.
    """
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name}: {array.dtype} values; points and pictures are plain numbers")
    conditions, specifications = _conditions(labels, label_names, attributes, called)
    if array.ndim <= 2:
        columns = array if array.ndim == 2 else array.reshape(-1, 1)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which Dataset reports
            points = torch.from_numpy(columns.astype(np.float32, copy=False))
        return Dataset(points, conditions, specifications, notes=notes, name=name)
    if array.dtype.kind == "f" and array.ndim == 3:
        series = torch.from_numpy(array.astype(np.float32, copy=False))
        return Dataset(series, conditions, specifications, kind="series", notes=notes, name=name)
    pictures = torch.from_numpy(_pictures(array, name))
    return Dataset(pictures, conditions, specifications, kind="pictures", notes=notes, name=name)


def numpy_file(path: Path) -> Dataset:
    """A ``.npy`` file, or a ``.npz`` file of one array, or of one called x and its labels called y.

    Also understood are data, points, images, samples for x and label, labels, class, target for y. A y with a column
    for each of several attributes may have their names beside it, in an array called attributes. Floats that are called
    condition.NAME, as samples have them, are conditions of numbers, NaN where they are not known.

    Raises:
        UserError: Not a NumPy file, truncated, or of Python objects (they are never unpickled); several arrays of
            which none has such a name; whatever ``from_array`` refuses.
    """
    arrays = arrays_of(path)
    data = next(iter(arrays), None) if len(arrays) == 1 else next((key for key in DATA if key in arrays), None)
    if data is None:
        raise UserError(f"{path}: holds {', '.join(arrays) or 'nothing'}; call the data x, and its labels y")
    called = next((key for key in LABELS if key in arrays and key != data), "y")
    labels = arrays.get(called)
    attributes = [str(attribute) for attribute in arrays.get("attributes", [])]
    beside = {key: values for key, values in arrays.items() if key.startswith(CONDITION)}
    numbers = {key.removeprefix(CONDITION): values for key, values in beside.items() if values.dtype.kind == "f"}
    read = from_array(arrays[data], labels, name=path.name, attributes=attributes, called=called)
    return with_numbers(read, numbers)


def _conditions(
    labels: np.ndarray | None, label_names: Names, attributes: Sequence[str], called: str
) -> tuple[Conditions | None, dict[str, Specification]]:
    """The conditions beside the data: numbers, if they are floats with fractions, else labels."""
    if labels is not None and not label_names and _are_numbers(labels):
        return _numbers(torch.from_numpy(labels.reshape(len(labels), -1).astype(np.float64)), attributes, called)
    if labels is not None and not label_names:
        indices, names = index_attributes(labels, attributes)
        labels, label_names = (indices, names) if names else (None, ())
    return labelled(None if labels is None else torch.from_numpy(labels.astype(np.int64)), label_names)


def _are_numbers(values: np.ndarray) -> bool:
    """Whether they are floats of which some have a fraction; whole ones may be labels beside a NaN."""
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else np.empty(0)
    return bool((known != np.round(known)).any())


def _numbers(
    x: torch.Tensor, attributes: Sequence[str], called: str
) -> tuple[Conditions | None, dict[str, Specification]]:
    """Numbers x (count, columns) as one condition, or one for each of the ``attributes``."""
    if attributes and len(attributes) != x.shape[1]:
        raise UserError(f"{len(attributes)} names of attributes for {x.shape[1]} columns of numbers")
    groups = {name: ([name], x[:, k : k + 1]) for k, name in enumerate(attributes)}
    if not groups:
        several = x.shape[1] > 1
        groups = {called: ([f"{called}{k + 1}" for k in range(x.shape[1])] if several else [called], x)}
    specifications = {name: Numbers.measure(columns, values) for name, (columns, values) in groups.items()}
    entries = {name: specifications[name].entry(values) for name, (_, values) in groups.items()}
    return Conditions(entries), dict(specifications)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name; that of a ``.npy`` file as x. Large ones are mapped.

    Raises:
        UserError: Not a NumPy file, truncated, or of Python objects.
    """
    try:
        large = path.suffix == ".npy" and is_large(0, path.stat().st_size)
        loaded = np.load(path, mmap_mode="c" if large else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        return {info.filename.removesuffix(".npy"): _member(path, loaded, info) for info in loaded.zip.infolist()}
    except Exception as error:  # of a damaged header, anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: truncated, or not plain NumPy numbers ({reason})") from None


def _member(path: Path, loaded: "np.lib.npyio.NpzFile", info: ZipInfo) -> np.ndarray:
    """One array of a .npz file: mapped, if it is large and lies there as it is in memory."""
    if is_large(0, info.file_size) and info.compress_type == ZIP_STORED:
        with path.open("rb") as file:
            file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            file.seek(info.header_offset + 30 + name + extra)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            if not by_columns and not dtype.hasobject:
                return np.memmap(path, dtype, "c", file.tell(), shape)
    found: np.ndarray = loaded[info.filename]
    return found


def index_labels(values: np.ndarray, known: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of any type as indices into their sorted distinct values, and the names of those; "2" precedes "10".

    NaN, None, empty text and the number -1 are not known: -1. But where the only other label is 1, the two are sides,
    called "-1" and "1". Whole numbers that are stored as floats (beside a NaN) are named as whole numbers. ``known``
    holds every value that can occur, where ``values`` alone may miss some (a test split).
    """
    distinct = sorted({value for value in (values if known is None else known).tolist() if _is_known(value)})
    if distinct != [-1, 1]:
        distinct = [value for value in distinct if value != -1]
    if all(_name(value).isdigit() for value in distinct):
        distinct.sort(key=lambda value: int(_name(value)))
    index = {value: k for k, value in enumerate(distinct)}
    return np.array([index.get(value, -1) for value in values.tolist()], np.int64), tuple(map(_name, distinct))


def _is_known(value: object) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def index_attributes(values: np.ndarray, attributes: Sequence[str] = ()) -> tuple[np.ndarray, Names]:
    """`index_labels` of one kind of label, ``(count,)``, or of each column of several, ``(count, attributes)``.

    A column of which no label is known is left out.
    """
    if values.ndim != 2:
        return index_labels(values)
    attributes = attributes or [str(k + 1) for k in range(values.shape[1])]
    if len(attributes) != values.shape[1]:
        raise UserError(f"{len(attributes)} names of attributes for {values.shape[1]} columns of labels")
    found = dict(zip(attributes, map(index_labels, values.T), strict=True))
    labelled = {attribute: indexed for attribute, indexed in found.items() if indexed[1]}
    if not labelled:
        return np.empty((len(values), 0), np.int64), {}
    return np.stack([indices for indices, _ in labelled.values()], 1), {
        name: names for name, (_, names) in labelled.items()
    }


def _pictures(array: np.ndarray, name: str) -> np.ndarray:
    """Any of the layouts above to ``(count, channels, height, width)`` uint8 or float32, in one piece in memory."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] > 4 >= array.shape[3]:
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4:
        raise UserError(f"{name}: shape {array.shape}; points have 2 dimensions, pictures 3 or 4")
    if isinstance(array, np.memmap) and array.dtype in (np.uint8, np.float32):
        return array  # as it lies in its file: it is copied row by row
    if array.dtype.kind == "f":
        return np.array(array, np.float32, order="C")
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iu" or (array.size and (array.min() < 0 or array.max() > 255)):
            raise UserError(f"{name}: pictures are whole numbers from 0 to 255 (uint8), not {array.dtype}")
        array = array.astype(np.uint8)
    return np.array(array, order="C") if not (array.flags.c_contiguous and array.flags.writeable) else array
