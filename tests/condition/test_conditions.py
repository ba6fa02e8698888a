"""Conditions: dropped as often as asked, one by one and together; joined, indexed, read from words, written as JSON."""

import json
import math

import pytest
import torch
from conditioned import labels
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.read import read, read_negative, with_label
from undiffuse.condition.specification import (
    Labels,
    Numbers,
    Picture,
    Specification,
    Text,
    Vector,
    check,
)
from undiffuse.core.configuration import from_json, to_values
from undiffuse.core.errors import Caution, UserError
from undiffuse.core.noise import SeededNoise, Stream

AGE = Numbers(("age",), (40.0,), (10.0,), (18.0,), (90.0,))
PLACE = Numbers(("x", "y"), (0.0, 1.0), (1.0, 2.0), (-3.0, -3.0), (3.0, 5.0))
SPECIFICATIONS = {
    "digit": Labels(("0", "1", "2")),
    "colour": Labels(("red", "blue")),
    "age": AGE,
    "place": PLACE,
    "embedding": Vector(3),
    "caption": Text(4, 7),
    "low": Picture((2, 3, 3)),
}
SIDES = {"side": Labels(("left", "right")), "height": Labels(("low", "middle", "high"))}
SINGLE = {"label": Labels(("cat", "dog"))}


def several(count=40_000):
    generator = torch.Generator().manual_seed(0)
    return labels(**{name: torch.randint(-1, 3, (count,), generator=generator) for name in ("a", "b")})


# ---------------------------------------------------------------------------------------------------- a batch


def test_dropout_is_of_rows_and_of_single_entries_on_their_own():
    """Shares within 5 standard errors, for every pattern; what was absent stays so, and values stay as they were."""
    conditions, (share, each) = several(), (0.2, 0.3)
    dropped = conditions.drop(SeededNoise(0), share, each)
    were = torch.stack([entry.present for entry in conditions.entries.values()], 1)
    are = torch.stack([entry.present for entry in dropped.entries.values()], 1)
    assert not (are & ~were).any()
    expected = {(False, False): share + (1 - share) * each**2, (True, True): (1 - share) * (1 - each) ** 2}
    expected |= dict.fromkeys([(True, False), (False, True)], (1 - share) * each * (1 - each))
    both = were.all(1)
    for pattern, probability in expected.items():
        found = float((are[both] == torch.tensor(pattern)).all(1).double().mean())
        assert abs(found - probability) < 5 * math.sqrt(probability * (1 - probability) / int(both.sum()))
    for name, entry in dropped.entries.items():
        assert torch.equal(entry.values, conditions.entries[name].values)


def test_rows_are_dropped_independently_of_each_other():
    present = several(20_000).without().entries["a"].present | True
    entry = Entry(torch.zeros(20_000, dtype=torch.int64), present)
    kept = Conditions({"a": entry}).drop(Stream(), 0.5).entries["a"].present.double() - 0.5
    assert abs(float((kept[1:] * kept[:-1]).mean())) < 5 * 0.25 / math.sqrt(20_000)


def test_nothing_is_dropped_where_no_share_is():
    conditions = several(8)
    assert conditions.drop(Stream(), 0.0).entries is conditions.entries


@given(st.lists(st.integers(-1, 2), min_size=2, max_size=9), st.data())
def test_joined_and_indexed_it_is_the_same(column, data):
    cut = data.draw(st.integers(1, len(column) - 1))
    whole = labels(a=torch.tensor(column), b=torch.tensor(column[::-1]))
    joined = Conditions.cat([whole[:cut], whole[cut:]])
    rows = torch.randperm(len(column))
    for name, (values, present) in whole.entries.items():
        assert torch.equal(joined.entries[name].values, values) and torch.equal(joined.entries[name].present, present)
        assert torch.equal(whole[rows].entries[name].values, values[rows])
        assert torch.equal(whole.repeat(3).entries[name].present, present.repeat(3))


def test_without_and_replaced():
    both = labels(a=torch.tensor([0, 1]), b=torch.tensor([1, -1]))
    assert [entry.present.tolist() for entry in both.without().entries.values()] == [[False] * 2] * 2
    assert both.without("a").entries["b"].present.tolist() == [True, False]
    other = both.replaced(labels(a=torch.tensor([2])))
    assert other.entries["a"].values.tolist() == [2, 2] and other.entries["b"] is both.entries["b"]


def test_batches_that_are_none_are_refused():
    with pytest.raises(UserError, match="at least one entry"):
        Conditions({})
    with pytest.raises(UserError, match="one value and one bool for each row"):
        Conditions({"a": Entry(torch.zeros(3), torch.ones(2, dtype=torch.bool))})
    with pytest.raises(UserError, match="a cannot be joined to those of b"):
        Conditions.cat([labels(a=torch.tensor([0])), labels(b=torch.tensor([0]))])


# ------------------------------------------------------------------------------------------------- the values


def test_specifications_come_back_from_json():
    """Bit for bit and in order, by way of what a model's file holds."""
    hint = dict[str, Specification]
    again = from_json(hint, json.dumps(to_values(SPECIFICATIONS, hint)), "here")
    assert again == SPECIFICATIONS and list(again) == list(SPECIFICATIONS)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20))
def test_numbers_are_standardised_and_come_back(column):
    x = torch.tensor(column, dtype=torch.float64)[:, None]
    numbers = Numbers.measure(["x"], torch.cat([x, torch.full((1, 1), math.nan)]))
    entry = numbers.entry(torch.cat([x, torch.full((1, 1), math.nan)]))
    assert entry.present.tolist() == [True] * len(x) + [False] and entry.values.isfinite().all()
    spread = float(x.std(correction=0)) or 1.0
    assert (numbers.numbers(entry.values[:-1]) - x).abs().max() <= 1e-5 * (spread + float(x.abs().max()))
    assert numbers.low == (float(x.min()),) and numbers.high == (float(x.max()),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["digit"].values.fill_(3), "runs from 3 to 3; 3 names allow 0 to 2"),
        (lambda c: c["age"].values.fill_(math.nan), "holds NaN"),
        (lambda c: c.update(place=Entry(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool))), r"\(batch, 2\)"),
        (lambda c: c.pop("low"), "'low' is missing"),
        (lambda c: c.update(ages=c["age"]), "did you mean age"),
        (lambda c: c["caption"].values.fill_(8), "ids go from 0 to 6"),
    ],
)
def test_what_is_not_as_specified_is_named(change, said):
    words = {"digit": 1, "colour": "red", "age": 30, "place": "1,2", "embedding": [1, 2, 3], "caption": [1]}
    found = read(SPECIFICATIONS, words | {"low": torch.zeros(2, 3, 3)}).repeat(2)
    entries = {name: Entry(entry.values.clone(), entry.present) for name, entry in found.entries.items()}
    check(SPECIFICATIONS, Conditions(entries))
    change(entries)
    with pytest.raises(UserError, match=said):
        check(SPECIFICATIONS, Conditions(entries))


# -------------------------------------------------------------------------------------------------- in words


def indices(conditions):
    return torch.stack([v.masked_fill(~p, -1) for v, p in conditions.entries.values()], 1).tolist()


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"side": "left", "height": "high"}, [[0, 2]]),
        ({"side": 1, "height": ["low", 2]}, [[1, 0], [1, 2]]),
        ({"side": "right"}, [[1, 0], [1, 1], [1, 2]]),
        (None, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]),
        ([{"side": 0, "height": 0}, {"side": 1, "height": -1}], [[0, 0], [1, -1]]),
        ({"side": "none", "height": None}, [[-1, -1]]),
    ],
)
def test_asked_for(asked, rows):
    assert indices(read(SIDES, asked)) == rows


@pytest.mark.parametrize(
    ("label", "rows"),
    [
        ({"side": "left", "height": "high"}, [[0, 2]]),
        ("none", [[-1, -1]]),
        (torch.tensor([[1, 2], [0, -1]]), [[1, 2], [0, -1]]),
    ],
)
def test_a_label_of_several_attributes(label, rows):
    assert indices(read(SIDES, with_label(SIDES, None, label))) == rows


def test_a_label_and_other_conditions():
    specifications = SINGLE | {"age": AGE}
    found = read(specifications, with_label(specifications, {"age": [30, 50]}, ["dog", "cat"]))
    assert found.entries["label"].values.tolist() == [1, 1, 0, 0]
    assert AGE.numbers(found.entries["age"].values)[:, 0].tolist() == pytest.approx([30, 50, 30, 50])
    alone = read(specifications, with_label(specifications, None, torch.tensor([1, -1])))
    assert alone.entries["label"].values[0] == 1 and not alone.entries["age"].present.any()
    assert alone.entries["label"].present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sied": 0}, "unknown condition 'sied'; did you mean side?"),
        ({"side": "lfet"}, "unknown side 'lfet'; did you mean left?"),
        ({"side": 2}, "a number from 0 to 1"),
        ({"side": []}, "an empty list of conditions"),
        ("left", "given by name"),
    ],
)
def test_mistakes(asked, said):
    with pytest.raises(UserError, match=said):
        read(SIDES, asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"age": "thirty"}, "age is a number, not 'thirty'"),
        ({"age": "nan"}, "age must be finite"),
        ({"place": "1,2,3"}, "place is 2 numbers, not 3"),
        ({"embedding": [1, 2]}, "embedding is 3 numbers, not 2"),
        ({"caption": [1, 9]}, "ids go from 0 to 6"),
        ({"caption": "a cat"}, "token ids"),
        ({"low": torch.zeros(1, 3, 3)}, r"a picture \(2, 3, 3\)"),
    ],
)
def test_values_that_are_none(asked, said):
    with pytest.raises(UserError, match=said):
        read(SPECIFICATIONS, asked)


def test_outside_of_what_was_seen_is_a_warning_alone():
    with pytest.warns(Caution, match="age=120 is outside the training data, which has 18 to 90"):
        found = read({"age": AGE}, {"age": "120"})
    assert AGE.numbers(found.entries["age"].values).item() == pytest.approx(120)


def test_a_value_of_several_numbers_is_one_or_several_in_turn():
    assert len(read({"place": PLACE}, {"place": [1, 2]})) == 1
    assert len(read({"place": PLACE}, {"place": [[1, 2], [0, 0], None]})) == 3
    assert len(read({"age": AGE}, {"age": torch.tensor([20.0, 30.0])})) == 2


def test_without_conditions():
    assert read({}, None) is None
    with pytest.raises(UserError, match="trained without conditions; leave age out"):
        read({}, {"age": 3})
    with pytest.raises(UserError, match="trained without labels"):
        with_label({"age": AGE}, None, "cat")
    with pytest.raises(UserError, match="a label here is of side and height: side=left,height=low"):
        with_label(SIDES, None, "left")
    with pytest.raises(UserError, match=r"labels of side, height are \(count, 2\)"):
        with_label(SIDES, None, torch.zeros(4, 3, dtype=torch.int64))


def test_negatives():
    assert read_negative(SIDES, None) is None
    assert indices(read_negative(SIDES, {"height": "low"})) == [[0]]
    assert not read_negative(SIDES, {"height": "none"}).entries["height"].present.any()
    with pytest.raises(UserError, match="one negative side, not 2"):
        read_negative(SIDES, {"side": ["left", "right"]})
