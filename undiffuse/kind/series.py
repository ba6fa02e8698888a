"""Series: signals of one dimension, of any channels."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from undiffuse.core.files import write_csv
from undiffuse.data.dataset import Dataset
from undiffuse.data.describe import columns
from undiffuse.draw.animation import Frame
from undiffuse.draw.save import Rows, Writer, save_archive, save_array
from undiffuse.draw.series import MOST, series, value_limits
from undiffuse.draw.style import picture, save
from undiffuse.evaluate.compare import Ruler
from undiffuse.evaluate.evaluate import Features, of_samples
from undiffuse.kind.distance import distance_reporter
from undiffuse.kind.kind import Kind, Reporter
from undiffuse.kind.numbers import all_numbers, known_numbers
from undiffuse.measure.report import MEASURES, Report
from undiffuse.measure.series import SERIES, spectrum_distance
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.sampling.sampling import Sampling

if TYPE_CHECKING:
    from PIL.Image import Image


def save_curves(rows: Rows, path: Path) -> None:
    """The first series as curves, .png."""
    save(series(rows.x, rows.captions[:MOST]), path)


def save_long(rows: Rows, path: Path) -> None:
    """Series in long form, .csv: a row a value in time, as they are read."""
    channels = [f"channel {k + 1}" for k in range(rows.x.shape[1])]
    every = enumerate(rows.x.cpu().numpy())
    lines = ([f"s{name}", time, *values] for name, one in every for time, values in enumerate(one.T))
    write_csv(path, ["series", "time", *channels], lines)


@dataclass(frozen=True)
class SeriesKind(Kind):
    """Signals, (count, channels, length) float32, in the data's own units."""

    name: ClassVar[str] = "series"
    item: ClassVar[str] = "series"
    items: ClassVar[str] = "series"
    called: ClassVar[str] = "series of {}"
    writers: ClassVar[Mapping[str, Writer]] = {
        ".png": save_curves,
        ".npy": save_array,
        ".npz": save_archive,
        ".csv": save_long,
    }
    shown: ClassVar[int] = 24
    filmed: ClassVar[int] = 12
    measured: ClassVar[int] = 1000
    compared: ClassVar[int] = 1000
    reported: ClassVar[int] = 256
    widths: ClassVar[tuple[int, ...]] = (16, 32, 48, 64)
    enough: ClassVar[int] = 1_000

    def describe(self, data: Dataset) -> list[str]:
        """Every channel's range, mean and deviation."""
        names = tuple(f"channel {k + 1}" for k in range(data.shape[0]))
        return columns(Dataset(data.x.movedim(1, 2).flatten(0, 1), columns=names))

    def film(self, run: Run, states: Iterable[Frame], samples: Samples) -> "Iterator[Image]":
        """Curves that come out of the noise, in the limits of the data."""
        captions = super().made(run, samples).captions
        limits = value_limits(run.dataset().x[:1000])
        for state in states:
            figure = series(state.x, captions, limits)
            figure.suptitle(f"{state.step}    {state.level}", fontsize=9)
            yield picture(figure)

    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Distances by value, by spectrum and by autocorrelation."""
        return of_samples(run, count, sampling, self.items, features, (*SERIES, *MEASURES))

    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """The sliced Wasserstein distance, and a sheet of curves."""

        def sheet(run: Run, samples: Rows, real: Rows) -> "Image":
            return picture(series(samples.x, samples.captions[:MOST], value_limits(real.x)))

        return distance_reporter(self, train, held_out, seed, sheet, novelty=True)

    def ruler(self, run: Run, train: Dataset, test: Dataset) -> Ruler:
        """The distance between spectra."""
        return Ruler("spectrum", spectrum_distance)

    def rows(self, run: Run, path: Path, fit: bool = False) -> Tensor:
        """Rows of a .npy, or of a .csv with a header."""
        return all_numbers(run, path)

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """A .npy with NaN for what is to be drawn."""
        return known_numbers(run, path, mask)
