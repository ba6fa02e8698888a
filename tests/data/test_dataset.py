"""Dataset: what it refuses, in one line each, and what a split promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.condition.label import labelled, specifications_of
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.kind import describe

points = torch.arange(12.0).reshape(6, 2)
pictures = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(torch.uint8)


def broken(value: float) -> torch.Tensor:
    x = points.clone()
    x[3, 1] = x[4, 0] = value
    return x


def conditions(labels):
    return dict(zip(("conditions", "specifications"), labelled(labels), strict=True))


BAD = {
    "empty": (dict(x=torch.zeros(0, 2)), "empty"),
    "no columns": (dict(x=torch.zeros(3, 0)), "empty"),
    "one row": (dict(x=points[:1]), "only one row"),
    "nan": (dict(x=broken(torch.nan)), "2 of 12 values are NaN or infinite, the first in row 4, column number 2"),
    "inf": (dict(x=broken(-torch.inf), columns=("a", "b")), "first in row 4, column 'b'"),
    "constant": (dict(x=torch.ones(5, 2)), "all 5 rows are the same"),
    "float64": (dict(x=points.double()), "float32"),
    "one dimension": (dict(x=points[:, 0]), "points are"),
    "pictures of doubles": (dict(x=pictures.double(), kind="pictures"), "uint8 or torch.float32"),
    "bytes as points": (dict(x=pictures), "float32"),
    "unknown kind": (dict(x=points, kind="picture"), "did you mean pictures"),
    "column names": (dict(x=points, columns=("a",)), "1 column names for 2 columns"),
    "too few labels": (
        dict(x=points, **conditions(torch.zeros(5, dtype=torch.int64))),
        "one condition for each row, not 5 for 6",
    ),
    "conditions alone": (dict(x=points, conditions=labelled(torch.arange(6))[0]), "come together"),
    "label above": (
        dict(x=points, conditions=labelled(torch.arange(6))[0], specifications=specifications_of(("a", "b"))),
        "'label' runs from 0 to 5; 2 names allow 0 to 1",
    ),
}


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        (torch.zeros(6), (), "int64"),
        (torch.arange(6) - 2, (), "labels run from -2 to 3"),
        (torch.arange(6), ("a", "b"), "2 names allow 0 to 1"),
    ],
)
def test_labels_that_are_none_are_refused(labels, names, said):
    with pytest.raises(UserError, match=said):
        labelled(labels, names)


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
    arguments, message = BAD[case]
    with pytest.raises(UserError) as error:
        Dataset(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_constant_column_among_others_is_fine():
    x = points.clone()
    x[:, 0] = 7
    assert Dataset(x).shape == (2,)


def test_labels_without_names_are_numbered():
    assert Dataset(points, *labelled(torch.tensor([0, 1, 2, 0, 1, 2]))).label_names == ("0", "1", "2")


@given(
    labels=st.one_of(st.none(), st.integers(1, 7)),
    count=st.integers(4, 300),
    fraction=st.floats(0.01, 0.6),
    seed=st.integers(0, 99),
)
def test_split_is_a_partition_that_is_even_over_labels(labels, count, fraction, seed):
    held = max(2, round(fraction * count))
    y = None if labels is None else torch.randint(labels, (count,), generator=torch.Generator().manual_seed(seed))
    names = () if labels is None else tuple("abcdefg"[:labels])
    data = Dataset(torch.arange(count, dtype=torch.float32)[:, None], *labelled(y, names))
    if count - held < 2:
        with pytest.raises(UserError, match="both parts need at least 2"):
            data.split(fraction, seed)
        return
    train, test = data.split(fraction, seed)
    assert len(test) == held
    assert torch.equal(torch.cat([train.x, test.x]).sort(dim=0).values, data.x)
    assert torch.equal(test.x, data.split(fraction, seed)[1].x)
    if y is not None:
        every, part = (d.labels.bincount(minlength=labels) for d in (data, test))
        assert ((part - every * held / count).abs() <= 1).all()
        assert torch.equal(test.labels, y[test.x[:, 0].long()])


def test_parts():
    data = Dataset(torch.rand(50, 2))
    assert [len(data.part(split)) for split in ("train", "test", "all")] == [45, 5, 50]
    with pytest.raises(UserError, match="did you mean train"):
        data.part("trian")
    with pytest.raises(UserError, match="cannot hold out"):
        data.split(1.5)


def test_describe_says_what_there_is():
    pets = Dataset(
        points, *labelled(torch.tensor([0, 0, 0, 1, 1, 1]), ("cat", "dog")), columns=("age", "size"), name="pets"
    )
    text = describe(pets)
    assert text.splitlines() == [
        "pets: 6 points of 2 numbers",
        "  age: 0 to 10, mean 5, deviation 3.742",
        "  size: 1 to 11, mean 6, deviation 3.742",
        "  2 labels: cat (3), dog (3)",
    ]
    text = describe(Dataset(pictures, kind="pictures", notes=("one", "two")))
    assert text.splitlines() == [
        "the data: 2 pictures of 3 x 4 x 5",
        "  values 0 to 119, mean 59.5, deviation 34.6",
        "  note: one",
        "  note: two",
    ]
    assert "and 90 columns more" in describe(Dataset(torch.rand(3, 100)))


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_labels_of_which_none_is_known_are_no_labels(shape):
    data = Dataset(torch.rand(4, 2), *labelled(torch.full(shape, -1)))
    assert data.labels is None and data.label_names == ()
