"""Recipes for data of your own: the kind of data decides."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from undiffuse.condition.specification import Labels
from undiffuse.core.configuration import override
from undiffuse.core.errors import UserError
from undiffuse.data.own import Files, Hub, SeriesFiles, TableFile, TextFile
from undiffuse.data.readers.cells import number_of
from undiffuse.data.readers.documents import is_documents
from undiffuse.data.readers.large_cells import are_large, first_rows
from undiffuse.data.readers.open import existing, usual_size
from undiffuse.data.readers.points import LABELS
from undiffuse.data.readers.raw import beginning
from undiffuse.data.readers.series import NAMES, is_wav_folder
from undiffuse.data.readers.text import ENDINGS
from undiffuse.data.source import Smaller
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import LogNormal
from undiffuse.loss.weight import EDMWeight
from undiffuse.net import MLP, SpaceToDepth, UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes.series import series
from undiffuse.recipes.table import table
from undiffuse.recipes.text import text
from undiffuse.sampling.sampling import Guidance, Sampling

BYTES = 256
SMALL = 32  # pixels
LOOKED = 1000  # rows of a large file, which say whether it is a table
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
NOTHING: Mapping[str, str] = MappingProxyType({})
S = TypeVar("S", Files, Hub, SeriesFiles, TableFile, TextFile)


def own_data(path: Path, options: Mapping[str, str] = NOTHING) -> Recipe:
    """Points, pictures, a table or a text, by what is at the path, which is kept whole: runs go anywhere.

    ``options`` are fields of the source, as text: a network is chosen for pictures of the size that they are read at.

    A .csv of numbers alone, but for labels, is points; with text, dates or missing cells it is a table. What is wrong
    with a text, a table or some of the pictures is said when it is opened: the recipe's fields may mend it.

    Raises UserError if there is no data, or none that can be read.
    """
    if is_series(existing(path), options):
        own = _with(SeriesFiles(str(path.expanduser().resolve())), options)
        return series(own, own.open().shape[1:])
    source = _with(Files(str(existing(path).resolve())), options)
    if source.path.lower().endswith(ENDINGS) or is_documents(Path(source.path)):
        return _text(_with(TextFile(source.path), options))
    if _is_large_table(Path(source.path)):
        return _table(source.path, options)
    source = _small_pictures(source)
    try:
        data = replace(source, skip_unreadable=True).open()
    except UserError:
        if not source.path.lower().endswith(TABLES):
            raise
        return _table(source.path, options)
    recipe = OWN[data.kind](source, data.shape[1:])
    numbers = any(not isinstance(one, Labels) for one in data.specifications.values())
    return conditional(recipe, len(data.specifications) if numbers else 0)


def conditional(recipe: Recipe, count: int) -> Recipe:
    """With several conditions, each is also dropped on its own, so that samples can be given only some of them."""
    return recipe.changed(each_dropout=0.1) if count > 1 else recipe


def is_series(path: Path, options: Mapping[str, str] = NOTHING) -> bool:
    """Whether there are signals: .wav files, or a .csv of which a column, called series or named by ``by``, names the
    series."""
    if is_wav_folder(path):
        return True
    if not path.name.lower().endswith(TABLES):
        return False
    if "by" in options:
        return True
    first = beginning(path, 4096).decode("utf-8", errors="replace").partition("\n")[0]
    return any(name.strip(' "\r').lower() in NAMES for name in re.split("[,;\t|]", first))


def _is_large_table(path: Path) -> bool:
    """Whether a file is too large to look at all of it, and its first rows hold more than numbers and labels."""
    if not path.name.lower().endswith(TABLES) or not are_large(path):
        return False
    names, *rows = first_rows(path, LOOKED)
    columns = zip(names.cells, *(row.cells for row in rows), strict=False)
    return any(number_of(cell) is None for name, *cells in columns if name.lower() not in LABELS for cell in cells)


def _table(path: str, options: Mapping[str, str]) -> Recipe:
    source = _with(TableFile(path), options)
    return conditional(table().changed(data=source), len(source.condition))


def _text(source: TextFile) -> Recipe:
    """Characters; or bytes, where there are more characters than bytes, as far as it can be read."""
    try:
        alphabet = replace(source, length=1).open().alphabet  # the same, however long the pieces
    except UserError:
        return text(source)
    assert alphabet is not None
    return text(source if alphabet.size <= BYTES else replace(source, unit="bytes"))


def _with(source: S, options: Mapping[str, str]) -> S:
    """The source with those ``options`` that are fields of it."""
    known = {field.name for field in fields(source)}
    for name, value in sorted(options.items(), key=lambda pair: pair[0].count(".")):  # a part before its own fields
        source = override(source, name, value) if name.partition(".")[0] in known else source
    return source


def points(source: Files, size: tuple[int, ...] = ()) -> Recipe:
    """Points of any number of columns, from a .npy, .npz, .csv or .tsv file."""
    return Recipe(
        data=source,
        model=GaussianDiffusion(MLP(width=128)),
        training=Training(steps=10_000, batch=1024, lr=2e-3, save_every=1_000, report_every=2_000),
    )


def of_hub(name: str, options: Mapping[str, str] = NOTHING) -> Recipe:
    """Pictures of a Hugging Face data set, by its name there; ``options`` as `own_data` has it.

    Raises UserError if it cannot be loaded.
    """
    source = _with(Hub(name), options)
    return pictures(source, source.open().shape[1:])


def pictures(source: Files | Hub | Smaller, size: tuple[int, ...]) -> Recipe:
    """Pictures of (height, width) ``size``, from a folder of pictures, or of MNIST's or CIFAR-10's files.

    Pictures of a folder are scaled to at most 32 pixels, unless their size was said: so small, minutes show what they
    are. From 16 pixels on, patches of 2 x 2, from 64 on of 4 x 4, are folded into channels, if they divide the size:
    four, and sixteen, times the pictures in the same time. One level of the network for every halving of what is left,
    down to 4 to 8 places.

    The loss looks most at noise under which a picture of 16 x 16 is half hidden, and at twice the noise for twice the
    side: neighbouring pixels are alike, and their mean has so much less noise (Hoogeboom et al. 2023).
    """
    source, size = _small(source, size)
    folds = {4: 64, 2: 16}  # the patch, and the least side that it is for
    patch = next((p for p, least in folds.items() if min(size) >= least and not any(s % p for s in size)), 1)
    levels = max(1, (min(size) // patch).bit_length() - 2)  # 8 to 15 places: 2; 16 to 31: 3
    multiples = (1, 2, 2, 4, 4)[:levels]
    inner = UNet(width=96 if patch == 4 else 64, multiples=multiples, embedding=256)
    folded = SpaceToDepth(inner, patch=(patch, patch))
    return Recipe(
        data=source,
        model=GaussianDiffusion(
            folded if patch > 1 else UNet(multiples=multiples),
            loss=Denoising(LogNormal(mean=round(math.log(min(size) / 16), 1), std=1.3), EDMWeight(1.0)),
        ),
        training=Training(steps=6_000, batch=32, lr=2e-3, save_every=500, report_every=500),
        sampling=Sampling(sampler="dpm++2m", guidance=Guidance(1.5)),
    )


def _small_pictures(source: Files) -> Files:
    """The source, of which a folder of larger pictures is scaled down, before any is decoded."""
    size = None if source.size is not None else usual_size(Path(source.path))
    return replace(source, size=_scaled(size)) if size and min(size) > SMALL else source


def _scaled(size: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) with the shorter side `SMALL`."""
    side = SMALL / min(size)
    return round(side * size[0]), round(side * size[1])


def _small(source: Files | Hub | Smaller, size: tuple[int, ...]) -> tuple[Files | Hub | Smaller, tuple[int, ...]]:
    """The source and the size of its pictures, scaled down where it may be."""
    if isinstance(source, Smaller) or source.size is not None or min(size) <= SMALL:
        return source, size
    small = replace(source, size=_scaled(size))
    try:
        read = replace(small, skip_unreadable=True) if isinstance(small, Files) else small
        return small, read.open().shape[1:]
    except UserError:  # an array of pictures, which has its own size
        return source, size


OWN: dict[str, Callable[..., Recipe]] = {"points": points, "pictures": pictures, "series": series}  # by kind of data
