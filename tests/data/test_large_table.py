"""A table that is too large for memory has the columns and the rows that it would have in memory."""

import gzip
import random

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.core.on_disk import OnDisk
from undiffuse.data.own import Files, TableFile
from undiffuse.data.readers import large_cells, large_table
from undiffuse.recipes.own import own_data

HEADER = ",age,joined,city,income,note\n"


def lines(count=60):
    dice = random.Random(0)
    for row in range(count):
        city = dice.choice(["Ulm", "Köln", '"New York, NY"', '"two\nlines"', "?"])
        age, income = dice.choice(["", str(row)]), dice.choice(["1.50", "NA", f"{row}.25"])
        yield f"{row}, {age},2026-02-{1 + row % 28:02d},{city},{income},same\n"


@pytest.fixture
def large(monkeypatch, tmp_path):
    """From now on, every table is large, and transposed seven rows at once; caches lie beside."""
    monkeypatch.setenv("UNDIFFUSE_CACHE", str(tmp_path / "caches"))

    def begin():
        monkeypatch.setattr("undiffuse.data.cache.LARGE", 10)
        monkeypatch.setattr(large_table, "BLOCK", 7)
        monkeypatch.setattr(large_table, "LOOKED", 3)
        monkeypatch.setattr(large_cells, "PART", 7)

    return begin


def written(path, text, encoding="utf-8"):
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "wb") as file:
        file.write(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.csv", "utf-8"), ("a.csv", "utf-16"), ("a.csv", "cp1252"), ("a.csv.gz", "utf-8-sig")]
)
@pytest.mark.parametrize("header", [HEADER, ""])
def test_a_large_table_is_the_one_in_memory(large, tmp_path, name, encoding, header):
    path = written(tmp_path / name, header + "\n".join(lines()), encoding)
    source = TableFile(str(path), types=("age=number",) if header else ())
    expected = {split: source.open(split) for split in ("train", "test")}
    large()
    for split, data in expected.items():
        found = source.open(split)
        assert type(found.x) is OnDisk and found.schema == data.schema
        assert torch.equal(found.x.nan_to_num(-1), data.x.nan_to_num(-1))
        assert found.notes[:-1] == data.notes


def test_the_second_time_no_cell_is_read(large, tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", HEADER + "".join(lines()))
    large()
    first = TableFile(str(path)).open()
    monkeypatch.setattr(large_table, "large_cells", None)
    assert torch.equal(TableFile(str(path)).open().x.nan_to_num(-1), first.x.nan_to_num(-1))
    assert not [path for path in (tmp_path / "caches").rglob("*") if path.name.startswith("tmp")]


def test_conditions_of_a_large_table_are_those_in_memory(large, tmp_path):
    path = written(tmp_path / "a.csv", HEADER + "".join(lines()))
    before = TableFile(str(path), condition=("city",)).open("all")
    large()
    after = TableFile(str(path), condition=("city",)).open("all")
    assert after.specifications == before.specifications and after.columns == before.columns
    assert sorted(after.x.nan_to_num(-1).tolist()) == sorted(before.x.nan_to_num(-1).tolist())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "".join(lines()) + "1,2\n", "line 69 has 2 cells, most have 6"),
        (HEADER + "".join(lines()) + '61,1,2026-02-01,"Ulm', "is a quote not closed"),
        (HEADER + "\n" * 20, "no rows below its header"),
        (HEADER + "".join(lines()) + "\0", "it holds zero bytes"),
        ("a,b\n" + "1,2\n" * 30 + "x,2\n", "line 32: column 'a' holds"),
    ],
)
def test_what_is_wrong_with_a_large_table_is_said_as_of_a_small_one(large, tmp_path, text, said):
    path = written(tmp_path / "a.csv", text)
    source = TableFile(str(path), header="yes")
    with pytest.raises(UserError, match=said):
        source.open()
    large()
    with pytest.raises(UserError, match=said):
        source.open()


def test_a_large_file_of_numbers_is_points_and_of_anything_else_a_table(large, tmp_path):
    numbers = written(tmp_path / "numbers.csv", "a,b,label\n" + "1.5,2,cat\n2,3.5,dog\n" * 20)
    words = written(tmp_path / "words.csv", "a,b,label\n" + "1.5,,cat\n2,3.5,dog\n" * 20)
    large()
    assert [type(own_data(path).data) for path in (numbers, words)] == [Files, TableFile]
