"""Whether samples agree with their numeric conditions: one row of the report for each number."""

from math import nan

from torch import Tensor

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.specification import Numbers
from undiffuse.data.dataset import Dataset
from undiffuse.measure.regression import r_squared
from undiffuse.measure.report import Row

FEWEST = 10  # rows in which a number must be present
MEANING = "of {}: R² between the condition of each sample and what a regression, fitted to data, reads from the sample"


def agreement_rows(
    samples: Tensor, conditions: Conditions | None, train: Dataset, test: Dataset, seed: int = 0
) -> list[Row]:
    """R² for every number among the samples' ``conditions``; its floor is the R² of held-out rows.

    Empty without numeric conditions, or if fewer than `FEWEST` rows have them.
    """
    if conditions is None or train.conditions is None or test.conditions is None:
        return []
    rows = []
    for name, of in train.specifications.items():
        entries = (part.entries[name] for part in (train.conditions, conditions, test.conditions))
        if not isinstance(of, Numbers):
            continue
        known, made, real = (_present(x, entry) for x, entry in zip((train.x, samples, test.x), entries, strict=True))
        if min(len(known[0]), len(made[0]), len(real[0])) < FEWEST:
            continue
        for k, column in enumerate(of.columns):
            fitted, samples_read, real_read = ((x, values[:, k]) for x, values in (known, made, real))
            value, floor = r_squared(fitted, samples_read, real_read, seed)
            called = column if len(of.columns) == 1 else f"{name} {column}"
            rows.append(Row(f"agreement: {called}", value, floor, nan, "higher", MEANING.format(called)))
    return rows


def _present(x: Tensor, entry: Entry) -> tuple[Tensor, Tensor]:
    """The rows in which the condition is present, and its values there."""
    return x[entry.present.to(x.device)], entry.values[entry.present]
