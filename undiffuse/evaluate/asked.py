"""How well samples follow their numeric conditions: one row of the report for each number."""

from math import nan

from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Numbers
from undiffuse.data.dataset import Dataset
from undiffuse.measure.regression import r_squared
from undiffuse.measure.report import Row

FEWEST = 10  # rows of which a number is known
MEANING = "of {}: how much of what was asked for a regression of real rows reads in the samples, R²; the floor is real"


def asked_rows(samples: Tensor, asked: Conditions | None, train: Dataset, test: Dataset, seed: int = 0) -> list[Row]:
    """R² for every number that was asked for; empty without such conditions, or with too few rows."""
    if asked is None or train.conditions is None or test.conditions is None:
        return []
    rows = []
    for name, of in train.specifications.items():
        entries = (part.entries[name] for part in (train.conditions, asked, test.conditions))
        if not isinstance(of, Numbers):
            continue
        known, said, real = (_present(x, entry) for x, entry in zip((train.x, samples, test.x), entries, strict=True))
        if min(len(known[0]), len(said[0]), len(real[0])) < FEWEST:
            continue
        for k, column in enumerate(of.columns):
            fitted, samples_read, real_read = ((x, values[:, k]) for x, values in (known, said, real))
            made, floor = r_squared(fitted, samples_read, real_read, seed)
            called = column if len(of.columns) == 1 else f"{name} {column}"
            rows.append(Row(f"asked for: {called}", made, floor, nan, "higher", MEANING.format(called)))
    return rows


def _present(x: Tensor, entry: Entry) -> tuple[Tensor, Tensor]:
    """The rows where it is present, and its values there."""
    return x[entry.present.to(x.device)], entry.values[entry.present]
