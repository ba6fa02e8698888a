"""Points: rows of numbers."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from undiffuse.core.errors import UserError, nearest, usage
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import columns
from undiffuse.data.ready import Toy
from undiffuse.data.synthetic.densities import DENSITIES
from undiffuse.draw.animation import Frame, film_of_points
from undiffuse.draw.points import Cloud, points
from undiffuse.draw.save import Rows, Writer, save_archive, save_array, save_columns, save_plot
from undiffuse.draw.style import picture
from undiffuse.evaluate.compare import Ruler
from undiffuse.evaluate.evaluate import Features, of_samples
from undiffuse.kind.distance import distance_reporter
from undiffuse.kind.kind import Kind, Reporter
from undiffuse.kind.numbers import all_numbers, known_numbers
from undiffuse.measure.report import Report
from undiffuse.measure.sliced_wasserstein import sliced_wasserstein
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image

BESIDE = 1000  # rows of data, at least, that samples are drawn beside


@dataclass(frozen=True)
class PointsKind(Kind):
    """Rows of numbers, (count, columns...) float32, in the data's own units."""

    name: ClassVar[str] = "points"
    item: ClassVar[str] = "point"
    items: ClassVar[str] = "points"
    called: ClassVar[str] = "points of {} numbers"
    writers: ClassVar[Mapping[str, Writer]] = {
        ".png": save_plot,
        ".npy": save_array,
        ".npz": save_archive,
        ".csv": save_columns,
    }
    shown: ClassVar[int] = 2000
    filmed: ClassVar[int] = 1500
    measured: ClassVar[int] = 5000
    compared: ClassVar[int] = 5000
    reported: ClassVar[int] = 2000
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256)
    enough: ClassVar[int] = 3_000

    def describe(self, data: Dataset) -> list[str]:
        """Every column's range, mean and deviation."""
        return columns(data)

    def made(self, run: Run, samples: Samples) -> Rows:
        """Samples beside the data, if the data is still there; sampling itself needs only the model."""
        rows, source = super().made(run, samples), run.recipe.data
        density = DENSITIES.get(source.name) if isinstance(source, Toy) else None
        beside = None
        with suppress(UserError):
            some = self.some(run.dataset(), max(BESIDE, len(samples.x)))
            beside = Cloud("data", some.x, some.labels)
        return replace(rows, beside=beside, log_density=density.log_density if density else None)

    def film(self, run: Run, states: Iterable[Frame], samples: Samples) -> "Iterator[Image]":
        """Points that find their way to the data."""
        rows = super().made(run, samples)
        beside = self.some(run.dataset(), 2 * len(samples.x))
        return film_of_points(states, Cloud("data", beside.x), rows.labels, rows.label_names)

    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Distances between samples and held-out points."""
        return of_samples(run, count, sampling, self.items, features)

    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """The sliced Wasserstein distance, and points beside the data."""

        def drawn(run: Run, samples: Rows, real: Rows) -> "Image":
            clouds = [
                Cloud("data", real.x, real.labels),
                Cloud(f"after {run.step:,} steps", samples.x, samples.labels),
            ]
            return picture(points(clouds, samples.label_names, run.columns))

        return distance_reporter(self, train, held_out, seed, drawn)

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """Sliced Wasserstein distance."""
        return Ruler("sliced Wasserstein", sliced_wasserstein)

    @usage()
    def given(self, run: Run, columns: Mapping[str, str]) -> Given:
        """Columns by name, or by number, the first being 1."""
        if len(run.shape) != 1:
            return super().given(run, columns)
        names = run.columns or tuple(str(k + 1) for k in range(run.shape[0]))
        x = torch.full((1, *run.shape), math.nan)
        for name, cell in columns.items():
            if name not in names:
                raise UserError(nearest(name, names, "column"))
            try:
                x[0, names.index(name)] = float(cell)
            except ValueError:
                raise UserError(f"{name!r} holds numbers, not {cell!r}") from None
        return Given.missing(x)

    def rows(self, run: Run, path: Path, fit: bool = False) -> Tensor:
        """Rows of a .npy, or of a .csv with a header."""
        return all_numbers(run, path)

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """A .npy with NaN, or a .csv with empty cells, for what is to be drawn."""
        return known_numbers(run, path, mask)
