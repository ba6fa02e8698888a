"""Series: signals of one dimension, as arrays, as a folder of .wav files, or as a .csv in long form.

    .npy, .npz     (count, channels, length) of numbers that are no whole ones
    a folder       of .wav files (8, 16, 24, 32 bits or float, mono or stereo) of one rate; sub-folders are labels
    .csv, .tsv     a row a value in time, with a column that names the series; the other columns are channels

Series of unequal length are cut to the shortest, and that is said; with a ``length`` each is cut into pieces of it.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from undiffuse.core.errors import UserError, nearest
from undiffuse.data.dataset import Dataset
from undiffuse.data.readers.array import from_array
from undiffuse.data.readers.table import read_table

WAV = ".wav"
NAMES = ("series", "series_id", "series id")  # what the column that names the series is called, unless told
TIMES = ("time", "t", "step", "date", "timestamp")  # of a column that orders the values, and is none itself
SHORTEST = 4  # values of a series


def is_wav_folder(folder: Path) -> bool:
    """Whether a folder, or one within it, holds .wav files."""
    return folder.is_dir() and next(_files(folder), None) is not None


def wav_folder(folder: Path, length: int | None = None, split: str = "train") -> Dataset:
    """Every .wav file below a folder, (count, channels, length) float32 in [-1, 1].

    Where some files are stereo and some are not, the stereo ones are averaged to one channel. Raises UserError for
    files that cannot be read (naming the first), of different rates, or too short.
    """
    files = sorted(_files(folder))
    rates: dict[int, Path] = {}
    found = []
    for file in files:
        rate, signal = _wav(file)
        rates.setdefault(rate, file)
        found.append(signal)
    if len(rates) > 1:
        (one, first), (other, second), *_ = rates.items()
        differ = f"{first.name} has {one:,} samples a second and {second.name} {other:,}"
        raise UserError(f"{folder}: {differ}; resample them to one rate")
    notes = [f"{next(iter(rates)):,} samples a second"]
    if len({signal.shape[0] for signal in found}) > 1:
        notes.append("some files are stereo and some are not: averaged to one channel")
        found = [signal.mean(0, keepdims=True) for signal in found]
    if silent := sum(not signal.any() for signal in found):
        notes.append(f"{silent} of {len(found)} files are silent")
    tops = [file.relative_to(folder).parts[0] if file.parent != folder else "" for file in files]
    named = None if len(set(tops)) < 2 else np.array(tops)
    return _dataset(found, named, notes, folder.name, length).part(split)


def long_form(path: Path, by: str | None = None, length: int | None = None, split: str = "train") -> Dataset:
    """A .csv or .tsv of values in time: ``by`` is the column that names the series, "series" unless told.

    A column called time, t, step, date or timestamp orders the values of each series; the others are its channels.
    Raises UserError where there is no such column, or a channel that is not numbers throughout.
    """
    table = read_table(path)
    names = [column.name for column in table.schema]
    by = by or next((name for name in names if name.lower() in NAMES), None)
    if by is None or by not in names:
        wanted = nearest(by, names, "column") if by else f"no column names the series; say which: --data.by {names[0]}"
        raise UserError(f"{path}: {wanted}")
    time = next((name for name in names if name.lower() in TIMES), None)
    x = table.x.numpy()
    channels = [k for k, name in enumerate(names) if name not in (by, time)]
    if not channels:
        raise UserError(f"{path}: no column of values beside {by!r}")
    for k in channels:
        if not table.schema[k].is_number or np.isnan(x[:, k]).any():
            raise UserError(f"{path}: column {names[k]!r} is a channel, and not a number in every row")
    series = x[:, names.index(by)]
    if np.isnan(series).any():
        raise UserError(f"{path}: {int(np.isnan(series).sum())} rows have no {by}")
    order = np.lexsort((np.arange(len(x)) if time is None else x[:, names.index(time)], series))
    starts = np.flatnonzero(np.diff(series[order])) + 1
    parts = np.split(x[order][:, channels], starts)
    found = [part.T.astype(np.float32) for part in parts]
    return _dataset(found, None, list(table.notes), path.name, length).part(split)


def _dataset(
    found: Sequence[np.ndarray], labels: np.ndarray | None, notes: list[str], name: str, length: int | None
) -> Dataset:
    """Signals (channels, length) each, as one data set of one length."""
    lengths = [signal.shape[1] for signal in found]
    shortest, longest = min(lengths), max(lengths)
    wanted = length or shortest
    if wanted < SHORTEST or longest < wanted:
        raise UserError(f"{name}: series of {shortest} to {longest} values; {max(wanted, SHORTEST)} are needed")
    if length is None and shortest < longest:
        unequal = f"series of {shortest:,} to {longest:,} values"
        notes.append(f"{unequal}: all cut to {shortest:,}; --data.length N makes pieces of N")
    counts = [count // wanted if length else 1 for count in lengths]
    if short := counts.count(0):
        notes.append(f"{short} series are shorter than {wanted:,} values: left out")
    every = zip(found, counts, strict=True)
    pieces = [signal[:, k * wanted : (k + 1) * wanted] for signal, count in every for k in range(count)]
    each = None if labels is None else np.repeat(labels, counts)
    return from_array(np.stack(pieces).astype(np.float32), each, name=name, notes=tuple(notes))


def _wav(path: Path) -> tuple[int, np.ndarray]:
    """Samples a second, and (channels, length) float32 in [-1, 1]."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that are no sound
            rate, samples = wavfile.read(path)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as sound ({' '.join(str(error).split())[:100]})") from None
    whole = samples.dtype.kind in "iu"
    x = samples.astype(np.float32)
    if samples.dtype == np.uint8:
        x = (x - 128) / 128
    elif whole:
        x = x / (np.iinfo(samples.dtype).max + 1)  # 24 bits come as the upper ones of 32
    return rate, np.atleast_2d(x.T)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.suffix.lower() == WAV and not file.name.startswith("."))
