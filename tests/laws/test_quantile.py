"""The table's codec: undone exactly, and every number exactly normal, whatever the column."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from undiffuse.codec.quantile import Quantile, to_normal, to_uniform
from undiffuse.codec.table import TableCodec, Tabular
from undiffuse.core.errors import UserError
from undiffuse.core.noise import SeededNoise, Stream
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset

NUMBER = st.one_of(
    st.integers(-3, 3).map(float),
    st.integers(-(2**53), 2**53).map(float),
    st.floats(-1e300, 1e300, allow_subnormal=False),
    st.just(float("nan")),
)
SCHEMA = (
    Column("number", "number", missing=""),
    Column("code", "category", ("a", "b", "c"), missing="?"),
    Column("name", "category", tuple("abcdefgh"), frequent=3, missing=""),
    Column("same", "constant", ("x",)),
    Column("nothing", "constant", missing="NA"),
    Column("whole", "integer"),
)
CATEGORY, NAME = (st.sampled_from([float("nan"), *map(float, range(k))]) for k in (3, 8))
ROW = st.tuples(NUMBER, CATEGORY, NAME, st.just(0.0), st.just(float("nan")), st.integers(-9, 9).map(float))


@given(st.lists(ROW, min_size=2, max_size=60), st.integers(0, 10**6))
def test_what_is_encoded_is_undone_exactly(rows, seed):
    x = torch.tensor([*rows, (0.5, 0.0, 0.0, 0.0, float("nan"), 1.0)], dtype=torch.float64)
    codec = TableCodec.measure(Dataset(x, kind="table", schema=SCHEMA))
    z = codec.encode(x, SeededNoise(seed))
    assert z.shape == (len(x), *codec.latent_shape) and z.isfinite().all() and z.dtype == torch.float32
    torch.testing.assert_close(codec.decode(z), x, rtol=0, atol=0, equal_nan=True)
    back = Tabular().build("table", codec.shape, codec.facts())
    back.load_state_dict(codec.state_dict())
    assert torch.equal(back.decode(z).nan_to_num(), codec.decode(z).nan_to_num())


@pytest.mark.parametrize("count", [2_000_000, 16_000_000])
def test_millions_of_distinct_values_are_undone_exactly_in_float32(count):
    """At both ends, and where float32 is coarsest in u, z = 1; wherever in its interval a value is drawn."""
    quantile = Quantile(count)  # of 0, 1, ..., each once
    at = (0, int(0.84 * count), int(0.16 * count), count - 50_000)
    v = torch.cat([torch.arange(first, first + 50_000) for first in at]).double().repeat(3)
    u = torch.cat([torch.rand(len(v) // 3, generator=torch.Generator().manual_seed(0)), v[: len(v) // 3] % 2])
    u = torch.cat([u, torch.full((len(v) // 3,), 0.5)])
    z = to_normal(*quantile.interval(v), u).float()
    assert torch.equal(quantile.decode(to_uniform(z)), v)


@pytest.mark.parametrize("kind", ["nine tenths are zero", "distinct", "few values", "missing"])
def test_a_column_becomes_exactly_normal(kind):
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp() * 1e6
    if kind == "nine tenths are zero":
        x[:1800] = 0
    if kind == "few values":
        x = (x / 1e6).round()
    if kind == "missing":
        x[::3] = torch.nan
    schema = (Column("x", "number", missing=""),)
    codec = TableCodec.measure(Dataset(x[:, None], kind="table", schema=schema))
    z = codec.encode(x[:, None].repeat(5, 1), SeededNoise(1))[:, 0]
    assert kstest(z.numpy(), "norm").pvalue > 0.01


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=50), st.floats(-25, 25))
def test_a_value_that_was_not_seen_lies_between_its_neighbours(values, v):
    quantile = Quantile.measure(torch.tensor(values).double())
    low, high = quantile.interval(torch.tensor([v], dtype=torch.float64))
    assert 0 <= low <= high <= 1
    made = float(quantile.decode(torch.lerp(low, high, 0.5)))
    below = max((w for w in values if w <= v), default=min(values))
    above = min((w for w in values if w >= v), default=max(values))
    assert below - 1e-9 <= made <= above + 1e-9


def test_columns_of_many_values_make_others_and_columns_of_few_make_none():
    many, few = torch.linspace(0, 1, 500).double(), torch.tensor([0.0, 1.0, 5.0]).repeat_interleave(200).double()
    u = to_uniform(Stream(torch.Generator().manual_seed(0)).normal(torch.empty(5000)))
    new = Quantile.measure(many).decode(u)
    assert np.isin(new.numpy(), many.numpy()).mean() < 0.2 and new.min() >= 0 and new.max() <= 1
    assert set(Quantile.measure(few).decode(u).tolist()) == {0.0, 1.0, 5.0}


def test_uniform_and_normal_undo_each_other():
    u = torch.linspace(0.001, 0.999, 99).double()
    torch.testing.assert_close(to_uniform(to_normal(torch.zeros(99), torch.ones(99), u)), u)


def test_a_table_of_constants_has_nothing_to_learn():
    with pytest.raises(UserError, match="every column of this table is constant"):
        TableCodec((Column("a", "constant", ("x",)),), [])
