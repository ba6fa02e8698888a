"""The door from Python: a model of data at hand, in one call.

    run = undiffuse.fit(x, "runs/mine", labels=y, minutes=5)
    run.sample(64, label=3)

The data is written beside the run first, to ``runs/mine.npz``, and read from there: so a training that is interrupted
resumes, and `undiffuse evaluate runs/mine` finds what to measure against.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol

import numpy as np
from torch import Tensor

from undiffuse.core.errors import UserError, usage
from undiffuse.core.files import write_atomically
from undiffuse.core.paths import path_of
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES, own_data
from undiffuse.run.run import Run
from undiffuse.train.budget import planned
from undiffuse.train.length import Clock
from undiffuse.train.loop import new_folder, train

NOTHING: Mapping[str, Any] = MappingProxyType({})
PICTURE, LABEL = ("image", "img", "x"), ("label", "labels", "y")  # columns of a data set of dictionaries


class RowByRow(Protocol):
    """A data set of PyTorch or of Hugging Face: a row is x, (x, label), or a dictionary with a picture and a label."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def fit(
    data: Recipe | str | Path | Tensor | np.ndarray | RowByRow,
    out: str | Path,
    labels: Tensor | np.ndarray | Sequence[Any] | None = None,
    minutes: float | None = None,
    changes: Mapping[str, Any] = NOTHING,
    quiet: bool = False,
) -> Run:
    """Train a model of some data in a new folder, and open the run.

    Args:
        data: Rows (count, ...) as a tensor or an array: points, series, pictures of bytes or of numbers (channels
            first); a data set; or what the command line takes: a recipe, its name, a file, a folder.
        out: The folder of the run.
        labels: One for each row of a tensor or an array: numbers, names, or several columns.
        minutes: How long it may take; the network and the number of steps are chosen for it. None trains the recipe.
        changes: Fields of the recipe that are not to be chosen: {"steps": 2000, "width": 64}.
        quiet: Whether to show no progress.

    Raises:
        UserError: The folder or the file beside it is there already; the data is not valid.
    """
    out = new_folder(out)
    own = not isinstance(data, Recipe) and not (isinstance(data, str) and data in RECIPES)
    recipe = _recipe(data, labels, out)
    with usage():
        recipe = recipe.changed(**changes)
    if minutes is None:
        return train(recipe, out, quiet)
    clock = Clock(minutes)
    recipe, line = planned(recipe, clock, {recipe.path_of(name) for name in changes}, own)
    if not quiet:
        print(line)
    return train(recipe, out, quiet, clock=clock)


def _recipe(data: Any, labels: Any, out: Path) -> Recipe:
    if isinstance(data, Recipe | str | Path):
        if labels is not None:
            raise UserError("labels belong to a tensor or an array; a file or a recipe has its own")
        if isinstance(data, Recipe):
            return data
        return RECIPES[str(data)]() if str(data) in RECIPES else own_data(path_of(data))
    if isinstance(data, Tensor | np.ndarray):
        return own_data(_written(np.asarray(_on_cpu(data)), labels, out))
    if labels is not None:
        raise UserError("a data set brings its own labels; leave labels out")
    return own_data(_gathered(data, out))


def _on_cpu(x: Any) -> Any:
    return x.detach().cpu() if isinstance(x, Tensor) else x


def _written(x: np.ndarray, labels: Any, out: Path) -> Path:
    """The rows in a file beside the run."""
    arrays = {"x": x}
    if labels is not None:
        arrays["y"] = np.asarray(_on_cpu(labels))
        if len(arrays["y"]) != len(x):
            raise UserError(f"{len(arrays['y']):,} labels for {len(x):,} rows; give one for each")
    for array in arrays.values():
        _check_plain(array)
    path = _new_file(out)
    write_atomically(path, lambda part: np.savez(part, **arrays))  # type: ignore[arg-type]
    return path


def _new_file(out: Path) -> Path:
    """Where the data of a run goes. Raises UserError if something lies there."""
    path = out.with_name(f"{out.name}.npz")
    if path.exists():
        raise UserError(f"{path}: is there already, and this data would be written to it; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    return path


def _gathered(data: RowByRow, out: Path) -> Path:
    """The rows of a data set, and their labels if it has any, in a file beside the run: one row after the other, so
    that memory holds one."""
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or not len(data):
        raise UserError("a data set has a length and rows: a tensor, an array, or a Dataset of torch or Hugging Face")
    path, names = _new_file(out), getattr(getattr(data, "features", {}).get(LABEL[0]), "names", None)

    def write(part: Path) -> None:
        labels: list[Any] = []
        with zipfile.ZipFile(part, "w") as archive:
            with archive.open("x.npy", "w", force_zip64=True) as file:
                _write_rows(file, data, labels)
            if not any(label is None for label in labels):
                y = np.asarray([names[k] for k in labels] if names else labels)
                _check_plain(y)
                with archive.open("y.npy", "w") as file:
                    np.lib.format.write_array(file, y, allow_pickle=False)

    write_atomically(path, write)
    return path


def _write_rows(file: IO[bytes], data: RowByRow, labels: list[Any]) -> None:
    """One array of all rows, in NumPy's format; ``labels`` are added to."""
    first, _ = _pair(data[0])
    _check_plain(first)
    form = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
    np.lib.format.write_array_header_2_0(file, form | {"shape": (len(data), *first.shape)})
    for k in range(len(data)):
        row, label = _pair(data[k])
        if row.shape != first.shape:
            sizes = ", ".join(" x ".join(map(str, shape)) for shape in sorted({row.shape, first.shape}))
            raise UserError(f"rows of 2 shapes ({sizes}, ...); make them all alike first")
        if not np.can_cast(row.dtype, first.dtype):
            raise UserError(f"rows of {first.dtype} and of {row.dtype}; make them all alike first")
        file.write(np.ascontiguousarray(row, first.dtype).data)
        labels.append(_on_cpu(label))


def _check_plain(array: np.ndarray) -> None:
    if array.dtype == object:
        raise UserError("rows and labels are numbers or text, all of one shape")


def _pair(row: Any) -> tuple[np.ndarray, Any]:
    """(x, label), the label None if there is none."""
    if isinstance(row, Mapping):
        found = [next((row[name] for name in names if name in row), None) for names in (PICTURE, LABEL)]
        if found[0] is None:
            raise UserError(f"no column of {', '.join(PICTURE)} among {', '.join(map(str, row))}")
        return _array(found[0]), found[1]
    if isinstance(row, tuple | list):
        return _array(row[0]), row[1] if len(row) > 1 else None
    return _array(row), None


def _array(x: Any) -> np.ndarray:
    """Numbers; a picture of Pillow channels first."""
    from PIL.Image import Image

    array = np.asarray(_on_cpu(x))
    if isinstance(x, Image):
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array
