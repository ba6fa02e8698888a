"""Tables of which some is known: rows with fixed columns, and holes filled.

    given(run, {"education": "Bachelors", "age": "30"}, count=100)     rows of which these columns are so
    impute(run, x)                                                     rows whose missing cells are filled

What is known is told to the denoiser as it is (`undiffuse.denoiser.mixed.Given`) and comes back as it was given.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.codec.table import TableCodec
from undiffuse.core.errors import UserError, usage
from undiffuse.core.noise import SeededNoise
from undiffuse.core.parallel import in_batches
from undiffuse.data.column import Column, find_column
from undiffuse.denoiser.mixed import Given
from undiffuse.sampling.loop import last, trajectory

if TYPE_CHECKING:
    from undiffuse.run.run import Plan, Run


@usage()
def given(run: "Run", columns: Mapping[str, str], count: int, seed: int = 0, plan: "Plan | None" = None) -> Tensor:
    """``count`` rows (count, columns) float64 of which ``columns`` are so; cells are written as in the file.

    Sampled on the times of ``plan``, or of the run's own.

    Raises:
        UserError: No table; a column that is not there, a category that was never seen (naming the nearest), a number
            outside of what was; a count below 1.
    """
    codec = _codec(run)
    if count < 1:
        raise UserError(f"count must be at least 1, not {count}")
    x = torch.full((1, len(codec.schema)), torch.nan, dtype=torch.float64)
    known = torch.zeros(1, len(codec.schema), dtype=torch.bool)
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
    return _filled(run, x.expand(count, -1), known.expand(count, -1), False, plan or run.plan(), seed)


@usage()
def impute(run: "Run", x: Tensor, seed: int = 0, plan: "Plan | None" = None) -> Tensor:
    """Rows x (count, columns) float64 with each missing cell (NaN) drawn, given all of its row that is known.

    A cell is filled with a value, never left missing, unless its column never held one. Raises `UserError` for a run of
    anything but tables.
    """
    _codec(run)
    return _filled(run, x, ~x.isnan(), True, plan or run.plan(), seed)


def _filled(run: "Run", x: Tensor, known: Tensor, full: bool, plan: "Plan", seed: int) -> Tensor:
    """x with what is not known drawn; with ``full``, nothing drawn is a missing cell."""
    codec, process, believe = _codec(run), run.denoiser.process, run.in_half(run.denoiser.__call__)

    def made(rows: range) -> Tensor:
        cells, told = (part[rows.start : rows.stop].to(run.device) for part in (x, known))
        noise = SeededNoise(seed, rows.start)
        x_0 = codec.encode(torch.where(told, cells, 0.0) if full else cells, noise)  # a number that is to come is there
        denoise = Given(believe, process, x_0, *_fixed(codec, cells, told, full))
        start = process.start(x_0, noise, plan.times[0])
        return torch.where(told, cells, codec.decode(last(trajectory(plan.step, denoise, start, plan.times, noise))))

    return in_batches(len(x), run.batch, made, x[:0])


def _fixed(codec: TableCodec, x: Tensor, known: Tensor, full: bool) -> tuple[Tensor, Tensor]:
    """Which entries of what diffuses are known, (batch, entries), and classes that tokens cannot be."""
    fixed = torch.zeros(len(x), *codec.latent_shape, dtype=torch.bool, device=x.device)
    ruled_out = torch.zeros(
        len(x), len(codec.classes), max(codec.classes, default=1), dtype=torch.bool, device=x.device
    )
    for k, (column, place) in enumerate(zip(codec.schema, codec.places, strict=True)):
        told = known[:, k]
        if place.number is not None:
            has_number = ~x[:, k].isnan() if column.is_number else x[:, k] >= column.frequent
            fixed[:, place.number] = told & has_number
        if place.token is not None:
            fixed[:, codec.numbers + place.token] = told | (full and column.is_number)
            if full and column.missing is not None:
                ruled_out[~told, place.token, place.classes - 1] = True
    return fixed, ruled_out


def schema_of(run: "Run") -> tuple[Column, ...]:
    """The columns of a run's table. Raises `UserError` for a run of anything else."""
    return _codec(run).schema


def _codec(run: "Run") -> TableCodec:
    if not isinstance(run.codec, TableCodec):
        raise UserError(f"{run.folder}: makes {run.kind}; only of a table can columns be given or filled")
    return run.codec
