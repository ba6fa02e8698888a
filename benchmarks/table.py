"""Is a synthetic census as good as the real one? python -m benchmarks.table [--epochs 300]

Trains the recipe `table` on 32,561 rows of UCI's census income (UNDIFFUSE_TEST_DATA/tabular/adult-train.csv.gz) and
measures as many samples against the 16,281 rows of its test file, which nothing was trained on. Beside it CTGAN and
TVAE (Xu et al. 2019; SDV's package ctgan, with its own settings), if they are installed: pip install ctgan. All on one
thread. ``--epochs`` is the peers' (300 is their default, and takes them the better part of an hour).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Printed
from torch import Tensor

from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset
from undiffuse.data.own import TableFile
from undiffuse.data.readers.table import cells_of, read_table
from undiffuse.measure.report import Report
from undiffuse.measure.table import table_report
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train

NAMES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=300)
    epochs = parser.parse_args().epochs
    if "UNDIFFUSE_TEST_DATA" not in os.environ:
        raise SystemExit("UNDIFFUSE_TEST_DATA is not set; it holds tabular/adult-train.csv.gz")
    folder = Path(os.environ["UNDIFFUSE_TEST_DATA"]) / "tabular"
    torch.set_num_threads(1)
    source = TableFile(str(folder / "adult-train.csv.gz"), names=NAMES)
    data = source.open("all")
    test = in_terms_of(data.schema, read_table(folder / "adult-test.csv.gz", names=NAMES))
    reports = {}
    for name, rows, seconds in chain(ours(source), peers(data, epochs)):
        reports[name] = (table_report(rows, test, data.x, data.schema, "income"), seconds)
        show({name: reports[name]})
    show(reports)


def ours(source: TableFile) -> Iterator[tuple[str, Tensor, float]]:
    """As many samples as there are rows, and the seconds of training."""
    recipe = RECIPES["table"]().changed(data=source)
    recipe = recipe.changed(report_every=recipe.training.steps + 1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = train(recipe, Path(folder) / "run", quiet=True)
        seconds = time.perf_counter() - start
        yield "undiffuse", run.sample(len(source.open("all"))), seconds


def peers(data: Dataset, epochs: int) -> Iterator[tuple[str, Tensor, float]]:
    """CTGAN and TVAE as they come, told which columns are categories."""
    try:
        import pandas
        from ctgan import CTGAN, TVAE
    except ImportError as error:
        print(f"CTGAN and TVAE are not here to be compared ({error}): pip install ctgan")
        return
    frame = pandas.DataFrame(cells_of(data.schema, data.x), columns=[column.name for column in data.schema])
    frame = frame.astype({column.name: float for column in data.schema if column.is_number})
    categories = [column.name for column in data.schema if not column.is_number]
    for make in (TVAE, CTGAN):
        torch.manual_seed(0)
        np.random.seed(0)
        start = time.perf_counter()
        peer = make(epochs=epochs, enable_gpu=False)
        peer.fit(frame, categories)
        seconds = time.perf_counter() - start
        made = peer.sample(len(frame))
        rows = [_values(column, made[column.name].tolist()) for column in data.schema]
        yield f"{make.__name__}, {epochs} epochs", torch.stack(rows, 1), seconds


def _values(column: Column, cells: list[object]) -> Tensor:
    """A peer's column by our schema: (count,) float64. It makes fractions of whole numbers, which are rounded."""
    if column.is_number:
        return column.rounded(torch.tensor(cells, dtype=torch.float64))
    return torch.tensor([column.value(str(cell)) for cell in cells], dtype=torch.float64)


def in_terms_of(schema: Sequence[Column], other: Dataset) -> Tensor:
    """The rows of another file by this schema; the census's test file ends its last cells with a full stop."""
    rows = cells_of(other.schema, other.x)
    values = [[column.value(cell.removesuffix(".")) for column, cell in zip(schema, row, strict=True)] for row in rows]
    return torch.tensor(values, dtype=torch.float64)


def show(reports: dict[str, tuple[Report, float]]) -> None:
    """A column for each, and one for the floor."""
    table = Printed("measure", *reports, "real rows")
    first = next(iter(reports.values()))[0]
    for k, row in enumerate(first.rows):
        table.add_row(row.name, *(f"{report.rows[k].value:.3f}" for report, _ in reports.values()), f"{row.floor:.3f}")
    table.add_row("seconds of training", *(f"{seconds:.0f}" for _, seconds in reports.values()), "")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
