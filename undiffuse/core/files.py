"""Files are written whole or not at all: to a temporary file beside, forced to the disk, then renamed.

If the process is killed at any moment, or the disk is full, the file stays as it was before.
"""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from undiffuse.core.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors_told(path: Path) -> Iterator[None]:
    """While writing to ``path``: turns a full disk, or a folder that is missing or write-protected, into a
    `UserError`."""
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise UserError(f"{path}: the disk is full; make room and try again (what was there is intact)") from error
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise UserError(f"{path}: there is no folder {path.parent} to write to") from error
        if isinstance(error, PermissionError):
            raise UserError(f"{path}: may not be written; choose another place") from error
        raise


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """``write(temporary)`` writes a file with the suffix of ``path``, which is then renamed to ``path``.

    Raises:
        UserError: The folder is missing or write-protected, or the disk is full. The old file at ``path`` is intact.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    with disk_errors_told(path):
        try:
            write(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_folder(target: Path, write: Callable[[Path], object]) -> None:
    """``write(temporary)`` fills an empty folder, which is then renamed to ``target``: whole, or not there at all.

    Raises UserError as `write_atomically` does.
    """
    part = target.with_name(f".{target.name}.part")
    with disk_errors_told(target):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            write(part)
            os.replace(part, target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    _sync_folder(target.parent)


def copy_whole(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy files of these names into a new folder, which is there with all of them or not at all."""

    def write(part: Path) -> None:
        for name in names:
            shutil.copyfile(source / name, part / name)

    write_folder(target, write)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder with all that is in it; it is there whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    with disk_errors_told(target):
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        os.replace(part, target)
    _sync_folder(target.parent)


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or not at all."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_csv(path: Path, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """A .csv file, or .tsv, whole or not at all."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(header)
            writer.writerows(rows)

    write_atomically(path, write)


def write_json(path: Path, value: Any) -> None:
    """A JSON file that people can read, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """A safetensors file with ``facts`` as its metadata, whole or not at all."""
    from safetensors.torch import save_file

    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda part: save_file(stored, part, dict(facts or {})))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        UserError: Missing, truncated, or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated, or not a safetensors file ({error})") from None


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors. Raises UserError as `read_tensors` does."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated, or not a safetensors file ({error})") from None


def _is_full(error: BaseException) -> bool:
    """Whether the disk is full; safetensors wraps the system's error in its own."""
    return getattr(error, "errno", None) in FULL or any(f"(os error {code})" in str(error) for code in FULL)


def _sync_folder(folder: Path) -> None:
    """Makes a rename permanent: POSIX needs its folder synchronised, other systems need nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
