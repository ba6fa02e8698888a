"""Batches: a function of (seed, step), every row once an epoch, shared out among processes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.condition.label import labelled
from undiffuse.data.dataset import Dataset
from undiffuse.train.batches import Batches, key

CPU = torch.device("cpu")
COUNTS, SIZES = st.integers(2, 40), st.integers(1, 60)


def data(count: int) -> Dataset:
    return Dataset(torch.arange(float(count))[:, None], *labelled(torch.arange(count) % 2))


@given(COUNTS, SIZES, st.integers(0, 2**32))
def test_every_row_once_an_epoch(count, size, seed):
    """Whatever the batch, also where it is larger than the data and where it does not divide it."""
    batches = Batches(data(count), size, seed, CPU)
    rows = torch.cat([batches.rows(step) for step in range(count)])  # size whole epochs
    for epoch in rows.view(size, count):
        assert epoch.sort().values.tolist() == list(range(count))


@given(COUNTS, SIZES, st.integers(0, 50))
def test_a_step_does_not_depend_on_those_before(count, size, step):
    through, alone = Batches(data(count), size, 3, CPU), Batches(data(count), size, 3, CPU)
    for before in range(step):
        through(before)
    (x, conditions), (same_x, same) = through(step), alone(step)
    assert torch.equal(x, same_x)
    assert torch.equal(conditions.entries["label"].values, same.entries["label"].values)


@given(COUNTS, SIZES, st.integers(1, 4))
def test_processes_share_a_batch(count, size, processes):
    whole = Batches(data(count), size, 0, CPU).rows(5)
    parts = [Batches(data(count), size, 0, CPU, k, processes)(5)[0][:, 0] for k in range(processes)]
    assert torch.cat(parts).long().sort().values.equal(whole.sort().values)


def test_conditions_stay_with_their_rows():
    x, conditions = Batches(data(10), 25, 0, CPU)(4)
    assert torch.equal(x[:, 0].long() % 2, conditions.entries["label"].values)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True))
def test_keys_depend_on_every_number_and_on_their_order(numbers):
    keys = {
        key(*numbers),
        key(*numbers, 1),
        key(*[n + 1 for n in numbers]),
        *([key(*reversed(numbers))] * (len(numbers) > 1)),
    }
    assert len(keys) == 3 + (len(numbers) > 1)
    assert all(0 <= k < 2**63 for k in keys)
