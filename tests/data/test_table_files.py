"""Tables from files: types are found, nothing is lost, and what is wrong is said with its line and column."""

import gzip
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.data.readers.table import read_rows, read_table, write_table

REAL = os.environ.get("UNDIFFUSE_TEST_DATA")
PEOPLE = """name,age,height,born,zip,member,country,gone
Ann,31,1.70,2001-02-28,02134,yes,SE,
"Bo, jr.",?,1.85,1999-12-31,10001,no,SE,
Cy,45,,1980-01-01,10001,yes,SE,
Di,29,1.60,1975-06-15,,no,SE,
"""


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return path


def kinds(data):
    return [column.kind for column in data.schema]


def test_types_are_found(people):
    data = read_table(people)
    assert data.columns == ("name", "age", "height", "born", "zip", "member", "country", "gone")
    assert kinds(data) == ["category", "integer", "number", "date", *["category"] * 2, *["constant"] * 2]
    assert data.x.isnan().sum(0).tolist() == [0, 1, 1, 0, 1, 0, 0, 4]
    assert any("nothing but missing" in note for note in data.notes)


def test_what_is_read_is_written_as_it_was(people, tmp_path):
    data = read_table(people)
    write_table(data.schema, data.x, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().replace("\r", "") == PEOPLE
    again = read_table(tmp_path / "again.csv")
    assert again.schema == data.schema
    torch.testing.assert_close(again.x, data.x, rtol=0, atol=0, equal_nan=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(""), st.integers(-(10**15), 10**15).map(str)),
            st.one_of(st.just(""), st.floats(-1e9, 1e9).map(repr)),
            st.text("abc ,\"'é;", max_size=5).map(str.strip),
            st.dates().map(lambda day: day.isoformat()),
        ),
        min_size=3,
        max_size=30,
        unique=True,
    )
)
def test_any_table_survives(tmp_path, rows):
    import csv

    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("one", "two", "three", "four"), *rows])
    data = read_table(tmp_path / "a.csv", header="yes")
    write_table(data.schema, data.x, tmp_path / "b.csv")
    again = read_table(tmp_path / "b.csv", header="yes")
    assert kinds(again) == kinds(data) and [c.categories for c in again.schema] == [c.categories for c in data.schema]
    torch.testing.assert_close(again.x, data.x, rtol=0, atol=0, equal_nan=True)


def test_types_may_be_said(people):
    data = read_table(people, types=["age=category", "zip=integer", "country=category"])
    assert kinds(data)[1] == "category" and kinds(data)[4] == "integer" and kinds(data)[6] == "category"
    for types, message in (
        (["ages=number"], "did you mean age"),
        (["age=text"], "unknown kind of column 'text'"),
        (["age"], "COLUMN=KIND"),
        (["name=date"], "no dates of one form"),
        (["zip=constant"], "is no constant"),
    ):
        with pytest.raises(UserError, match=message):
            read_table(people, types=types)
    noted = read_table(people, types=["member=number"])
    assert noted.x[:, 5].isnan().all() and any("4 cells are no number" in note for note in noted.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a,b\n", "no rows below its header"),
        ("a,b\n1,x\n", "only one row; at least 2"),
        ("a,b\n1,x\n2\n3,y\n", "line 3 has 1 cells, most have 2"),
        ("a,b\n1,x\n2,y,z\n3,y\n", "line 3 has 3 cells, most have 2"),
        ('a,b\n1,x\n2,"y\n3,y\n', "quote not closed"),
        ("a,b\n" + "1,x\n2,x\n3,y\n" * 9 + "many,y\n", "line 29: column 'a' holds numbers, but here 'many'"),
        ("a,b\n1,x\n1,x\n", "all 2 rows are the same"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "a.csv")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n\0\1,2\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n")[:-9])
    for name, message in (("a.csv", "zero bytes"), ("b.csv.gz", "damaged")):
        with pytest.raises(UserError, match=message):
            read_table(tmp_path / name)


@pytest.mark.parametrize(("encoding", "note"), [("utf-8", ""), ("utf-16", "UTF-16"), ("cp1252", "Windows-1252")])
def test_encodings(tmp_path, encoding, note):
    (tmp_path / "a.csv").write_bytes("ort,n\nMalmö,1\nLuleå,2\nKiruna,4\n".encode(encoding))
    data = read_table(tmp_path / "a.csv")
    assert sorted(data.schema[0].categories) == ["Kiruna", "Luleå", "Malmö"] and note in "".join(data.notes)


def test_headers_and_names(tmp_path):
    (tmp_path / "a.csv").write_text("39, red\n50, blue\n38, red\n41, red\n")
    bare = read_table(tmp_path / "a.csv")
    assert bare.columns == ("column 1", "column 2") and len(bare) == 4
    assert read_table(tmp_path / "a.csv", names=("age", "hue")).columns == ("age", "hue")
    with pytest.raises(UserError, match="3 names for 2 columns"):
        read_table(tmp_path / "a.csv", names=("a", "b", "c"))
    (tmp_path / "b.csv").write_text(",x,x,\n0,a,1,p\n1,b,2,q\n2,a,3,q\n")
    data = read_table(tmp_path / "b.csv")
    assert data.columns == ("x", "x (2)", "column 4") and len(data.notes) == 4


def test_codes_and_large_numbers_lose_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("code,id,flag\n007,12345678901234567890,0\n012,12345678901234567891,1\n100,3,1\n")
    data = read_table(tmp_path / "a.csv")
    assert kinds(data) == ["category"] * 3 and data.schema[1].categories[0].startswith("123456789012345678")


def test_rare_categories_are_kept(tmp_path):
    rows = "".join(f"w{k:03},{k % 2}\n" for k in range(300)) + "w001,1\n" * 5
    (tmp_path / "a.csv").write_text("word,n\n" + rows)
    data = read_table(tmp_path / "a.csv", frequent=10)
    assert data.schema[0].categories[0] == "w001" and len(data.schema[0].categories) == 300
    assert any("300 different cells; the 10 most frequent" in note for note in data.notes)


def test_holes(people, tmp_path):
    schema = read_table(people).schema
    (tmp_path / "holes.csv").write_text("age,name\n,Ann\n30,\n")
    x = read_rows(tmp_path / "holes.csv", schema)
    assert (
        x.shape == (2, 8) and x[1, 1] == 30 and x[0, 0] == schema[0].categories.index("Ann") and x.isnan().sum() == 14
    )
    for text, message in (("agee\n1\n", "did you mean age"), ("age,name\n1,Ann\n2,Anne\n", "line 3: 'name'.*Ann")):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UserError, match=message):
            read_rows(tmp_path / "bad.csv", schema)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["", "a", "b", "a (2)", "column 1", "column 2"]), min_size=2, max_size=5), st.booleans()
)
def test_whatever_is_read_as_a_table_is_read_as_rows_of_it(tmp_path, header, counted):
    cells = [[str(k if counted else 7 * k), *(f"{j}{k % 2}x" for j in range(len(header) - 1))] for k in range(4)]
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, [header, *cells])))
    data = read_table(tmp_path / "a.csv", header="yes")
    torch.testing.assert_close(read_rows(tmp_path / "a.csv", data.schema), data.x, rtol=0, atol=0)


def test_rows_of_a_table_with_an_index_may_be_some_of_them(tmp_path):
    (tmp_path / "a.csv").write_text(",age,hue\n0,31,red\n1,45,blue\n2,29,red\n3,30,red\n")
    data = read_table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text(",age,hue\n1,45,blue\n3,30,red\n")
    assert torch.equal(read_rows(tmp_path / "b.csv", data.schema), data.x[[1, 3]])
    (tmp_path / "b.csv").write_text(",age,hue\nAnn,45,blue\n")  # not what counted rows
    with pytest.raises(UserError, match="unknown column 'column 1'"):
        read_rows(tmp_path / "b.csv", data.schema)


def test_holes_have_rows(people, tmp_path):
    (tmp_path / "holes.csv").write_text("age,name\n")
    with pytest.raises(UserError, match="no rows below its header"):
        read_rows(tmp_path / "holes.csv", read_table(people).schema)


@pytest.mark.skipif(REAL is None, reason="UNDIFFUSE_TEST_DATA is not set")
def test_the_real_housing_table_is_written_as_it_was_read(tmp_path):
    source = Path(REAL) / "tabular" / "california_housing.csv.gz"
    data = read_table(source)
    assert kinds(data).count("category") == 1 and int(data.x.isnan().sum()) == 207
    write_table(data.schema, data.x, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().replace("\r", "") == gzip.decompress(source.read_bytes()).decode()
