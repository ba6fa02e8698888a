"""Tables: rows of numbers, dates and categories, some of them missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import ClassVar

import torch
from torch import Tensor

from undiffuse.codec.table import TableCodec
from undiffuse.core.errors import UserError, usage
from undiffuse.data.column import find_column
from undiffuse.data.dataset import Dataset, random_conditions
from undiffuse.data.describe import cells
from undiffuse.data.readers.table import read_rows, write_table
from undiffuse.draw.save import Rows, Writer
from undiffuse.evaluate.evaluate import Features, of_table
from undiffuse.kind.distance import FLOORS
from undiffuse.kind.kind import Kind, Progress, Reporter, check_some
from undiffuse.measure.floor import draw, in_their_place
from undiffuse.measure.report import Report
from undiffuse.measure.table import column_distances
from undiffuse.run.given import Given
from undiffuse.run.run import Run, Samples
from undiffuse.sampling.sampling import Sampling


def save_table(rows: Rows, path: Path) -> None:
    """Rows with the columns of the data, .csv or .tsv."""
    write_table(rows.schema, rows.x, path)


@dataclass(frozen=True)
class TableKind(Kind):
    """Rows of a table, (count, columns) float64, each column as its `Column` says, NaN where a cell is missing."""

    name: ClassVar[str] = "table"
    item: ClassVar[str] = "row"
    items: ClassVar[str] = "rows"
    called: ClassVar[str] = "rows of {} columns"
    writers: ClassVar[Mapping[str, Writer]] = {".csv": save_table, ".tsv": save_table}
    shown: ClassVar[int] = 1000
    filmed: ClassVar[int] = 0
    measured: ClassVar[int] = 5000
    compared: ClassVar[int] = 0
    reported: ClassVar[int] = 2000
    widths: ClassVar[tuple[int, ...]] = (128, 256, 512)
    enough: ClassVar[int] = 1_500

    def describe(self, data: Dataset) -> list[str]:
        """Every column's kind, what it holds, and how much is missing."""
        return cells(data)

    def made(self, run: Run, samples: Samples) -> Rows:
        """With the columns of the data."""
        return Rows(samples.x, columns=run.columns, schema=codec_of(run).schema)

    def evaluate(
        self, run: Run, count: int, sampling: Sampling, target: str | None = None, features: Features = "judge"
    ) -> Report:
        """Measures by columns, by pairs of columns, by a detector, by use for prediction, and of privacy."""
        return of_table(run, count, sampling, target)

    def reporter(self, train: Dataset, held_out: Dataset, seed: int) -> Reporter:
        """The mean distance by columns."""
        generator = torch.Generator().manual_seed(seed)
        real = draw(held_out.x, min(self.reported, len(train)), generator)
        conditions = random_conditions(held_out, len(real), seed)

        def by_columns(x: Tensor, y: Tensor) -> float:
            return fmean(column_distances(x, y, held_out.schema))

        least = median(by_columns(*pair) for pair in in_their_place(train.x, real, FLOORS, generator))

        def report(run: Run) -> Progress:
            distance = by_columns(run.sample(len(real), conditions, seed=seed), real)
            line = f"distance by columns {distance:.3g} (floor {least:.3g}, {len(real):,} samples)"
            return Progress(line, {"distance by columns": distance, "floor": least})

        return report

    @usage()
    def given(self, run: Run, columns: Mapping[str, str]) -> Given:
        """Columns by name, cells as in the file.

        Raises UserError for an unknown column, an unseen category (naming the nearest one), or a number outside the
        range that was seen.
        """
        codec = codec_of(run)
        x = torch.full((1, *codec.shape), torch.nan, dtype=torch.float64)
        known = torch.zeros(1, *codec.shape, dtype=torch.bool)
        for name, cell in columns.items():
            k = find_column(codec.schema, name)
            column = codec.schema[k]
            x[0, k], known[0, k] = column.value(cell), True
            if x[0, k].isnan() and column.missing is None:
                raise UserError(f"{name!r} is never missing in the data; give a value")
            if column.is_number and not x[0, k].isnan():
                low, high = codec.seen(k)
                if not low <= x[0, k] <= high:
                    raise UserError(f"{name}={cell} was never seen: {column.write(low)} to {column.write(high)} were")
        return Given(x, known)

    def rows(self, run: Run, path: Path, fit: bool = False) -> Tensor:
        """A .csv or .tsv with a header; cells may be missing where they are in the data."""
        return read_rows(path, codec_of(run).schema)

    def known(self, run: Run, path: Path, mask: Path | None = None, complete: bool = False, fit: bool = False) -> Given:
        """A .csv or .tsv with a header; missing cells and missing columns are drawn.

        With ``complete``, every cell gets a value and none is drawn as missing, unless its column never held a value.
        """
        if mask is not None:
            raise UserError("cells that are not known are empty in their file; leave --mask out")
        return check_some(Given.missing(read_rows(path, codec_of(run).schema), complete), path)


def codec_of(run: Run) -> TableCodec:
    """The codec of a run of tables. Raises UserError for a run of anything else."""
    if not isinstance(run.codec, TableCodec):
        raise UserError(f"{run.folder}: makes {run.kind}; only of a table can columns be given or filled")
    return run.codec
