"""Measures of a table: nothing apart on equal laws, in closed form where there is one, and they see what is wrong."""

import torch

from undiffuse.data.column import Column
from undiffuse.measure.table import column_distances, detector, table_report, usefulness

SCHEMA = (
    Column("x", "number", missing=""),
    Column("y", "number"),
    Column("hue", "category", ("red", "blue", "green")),
    Column("big", "category", ("no", "yes")),
)


def rows(count, seed, dependent=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    hue = torch.randint(3, (count,), generator=generator).double()
    big = ((x[:, 1] if dependent else torch.randn(count, generator=generator)) > 0).double()
    x[torch.rand(count, generator=generator) < 0.1, 0] = torch.nan
    return torch.cat([x, hue[:, None], big[:, None]], 1)


def test_distances_of_columns_are_exact():
    a = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [torch.nan, 3, 2, 1]], dtype=torch.float64)
    b = torch.tensor([[0.0, 0, 0, 1], [0, 1, 0, 1], [torch.nan, 9, 0, 1], [torch.nan, 9, 0, 1]], dtype=torch.float64)
    assert column_distances(a, b, SCHEMA) == [0.5, 0.5, 0.75, 0.75]
    assert column_distances(a, a, SCHEMA) == [0.0] * 4


def test_perfect_samples_are_at_their_floor_and_others_are_not():
    train, test = rows(1500, 0), rows(800, 1)
    good, bad = (table_report(rows(800, 2, dependent), test, train, SCHEMA) for dependent in (True, False))
    for name in ("columns", "pairs"):
        assert good[name].value < 2 * good[name].floor
    assert good["detector AUC"].value < 0.56 and bad["detector AUC"].value > 0.65
    assert good["big predicted, AUC"].value > 0.95 and bad["big predicted, AUC"].value < 0.65
    assert bad["pairs"].value > 1.5 * good["pairs"].value
    copies = table_report(train[:800], test, train, SCHEMA)
    assert good["copied"].value < 0.05 and copies["copied"].value > 0.9


def test_a_detector_sees_missing_cells():
    a, b = rows(600, 0), rows(600, 1)
    b[::2, 0] = torch.nan
    assert detector(a, b, SCHEMA) > 0.65


def test_usefulness_without_a_class_is_chance():
    one = rows(300, 0)
    one[:, 3] = 0
    assert usefulness(one, rows(300, 1), SCHEMA, 3) == 0.5
