"""Points from .csv: every form that people write, and the line to look at when one is wrong."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.data.readers.open import open_data
from undiffuse.data.readers.points import csv_points

REAL = os.environ.get("UNDIFFUSE_TEST_DATA")
X = torch.tensor([[1.0, 2.5], [-3.0, 4e-3], [5.0, 0.0]])

GOOD = {
    "comma": "1,2.5\n-3,4e-3\n5,0\n",
    "no last newline": "1,2.5\n-3,4e-3\n5,0",
    "windows": "1,2.5\r\n-3,4e-3\r\n5,0\r\n",
    "semicolon": "1;2.5\n-3;4e-3\n5;0\n",
    "tab": "1\t2.5\n-3\t4e-3\n5\t0\n",
    "bar": "1|2.5\n-3|4e-3\n5|0\n",
    "blanks": "  1   2.5\n -3 4e-3\n 5 0 \n",
    "quotes": '"1","2.5"\n"-3","4e-3"\n"5","0"\n',
    "header": "a,b\n1,2.5\n-3,4e-3\n5,0\n",
    "byte order mark": "\ufeffa,b\n1,2.5\n-3,4e-3\n5,0\n",
    "spaces": "a, b\n1, 2.5\n-3 , 4e-3\n5, 0\n",
    "comments and gaps": "# made today\n\n1,2.5\n\n# more\n-3,4e-3\n5,0\n\n",
    "rows of nothing": "a,b\n1,2.5\n,\n-3,4e-3\n5,0\n,\n",
    "pandas": ",a,b\n0,1,2.5\n1,-3,4e-3\n2,5,0\n",
    "pandas, columns counted": "0,1\n1,2.5\n-3,4e-3\n5,0\n",
    "labelled": "a,b,label\n1,2.5,cat\n-3,4e-3,dog\n5,0,cat\n",
    "labelled first": "Class,a,b\n7,1,2.5\n9,-3,4e-3\n7,5,0\n",
    "labelled, counted": "0,target,1\n1,0.0,2.5\n-3,1.0,4e-3\n5,0.0,0\n",
}


@pytest.mark.parametrize("case", GOOD)
def test_every_way_to_write_it(tmp_path, case):
    path = tmp_path / "points.csv"
    path.write_bytes(GOOD[case].encode())
    data = csv_points(path)
    assert torch.equal(data.x, X)
    if "label" in case:
        assert data.labels.tolist() == [0, 1, 0]
        assert data.label_names == {"labelled": ("cat", "dog"), "labelled first": ("7", "9")}.get(case, ("0", "1"))
    else:
        assert data.labels is None
    if "a, b" in GOOD[case] or "a,b" in GOOD[case]:
        assert data.columns == ("a", "b")
    assert len(data.notes) == (case == "pandas")


@pytest.mark.parametrize(("encoding", "note"), [("utf-8", ""), ("utf-16", "UTF-16"), ("cp1252", "Windows-1252")])
def test_encodings(tmp_path, encoding, note):
    (tmp_path / "a.csv").write_bytes("höjd,bredd\n1,2\n3,4\n".encode(encoding))
    data = csv_points(tmp_path / "a.csv")
    assert data.columns == ("höjd", "bredd") and note in "".join(data.notes) and len(data.notes) == bool(note)


BAD = {
    "ragged": ("1,2\n3,4\n5\n", "line 3 has 1 cells, most have 2"),
    "too long": ("a,b\n1,2\n\n3,4,5\n", "line 4 has 3 cells"),
    "missing": ("a,b\n1,2\n3,\n,6\n7,\n", "1 values of column 'a' are missing, the first in line 4"),
    "nan": ("a,b\n1,2\n3,nan\n5,NaN\n", "2 values of column 'b' are missing, the first in line 3"),
    "question mark": ("a,b\n1,2\n3,?\n", "1 values of column 'b' are missing, the first in line 3"),
    "infinite": ("a,b\n1,2\n3,inf\n", "infinite, the first in row 2, column 'b'"),
    "text": ("a,kind\n1,cat\n2,dog\n", "column 'kind' holds text, as 'cat' in line 2"),
    "text, no header": ("1,cat\n2,dog\n", "column '2' holds text, as 'cat' in line 1"),
    "slip": ("1,2\n3,4\n5,6x\n", "as '6x' in line 3"),
    "missing label": ("a,label\n1,cat\n2,\n", "column 'label' are missing, the first in line 3"),
    "only labels": ("label\ncat\ndog\n", "no columns of numbers"),
    "empty": ("", "empty"),
    "blank": ("\n\n  \n", "empty"),
    "header": ("a,b\n", "no rows below its header"),
    "one row": ("a,b\n1,2\n", "only one row"),
    "constant": ("1,2\n1,2\n1,2\n", "all 3 rows are the same"),
    "decimal comma": ("1,5;2,5\n1,6;2,6\n", "as '1,6' in line 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses_with_the_line(tmp_path, case):
    text, message = BAD[case]
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(UserError) as error:
        csv_points(tmp_path / "points.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_not_text(tmp_path):
    for name, content, message in (
        ("a.csv", b"1,2\n\0,3\n", "not text, it holds zero bytes"),
        ("b.csv", b"\xff\xfe1\x00,", "damaged, or not text in UTF-16"),
        ("a.csv.gz", gzip.compress(b"1,2\n" * 99)[:-9], "a damaged gzip file"),
        ("b.csv.gz", b"1", "a damaged gzip file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            open_data(tmp_path / name)


def test_a_target_of_fractions_is_a_number(tmp_path):
    (tmp_path / "a.csv").write_text("a,target\n1,0.5\n2,1\n")
    data = csv_points(tmp_path / "a.csv")
    assert data.columns == ("a", "target") and data.labels is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    rows=st.integers(2, 20),
    columns=st.integers(1, 5),
    seed=st.integers(0, 10**6),
    delimiter=st.sampled_from(",;\t| "),
    header=st.booleans(),
)
def test_what_numpy_writes_is_read_back(tmp_path, rows, columns, seed, delimiter, header):
    x = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    names = delimiter.join(f"c{k}" for k in range(columns)) if header else ""
    np.savetxt(tmp_path / "a.tsv", x, delimiter=delimiter, header=names, comments="", fmt="%.9g")
    assert np.array_equal(csv_points(tmp_path / "a.tsv").x.numpy(), x)


@pytest.mark.skipif(REAL is None, reason="UNDIFFUSE_TEST_DATA is not set")
def test_real_tables():
    tables = Path(REAL) / "tabular"
    with pytest.raises(UserError, match="207 values of column 'total_bedrooms' are missing, the first in line 292"):
        open_data(tables / "california_housing.csv.gz")
    with pytest.raises(UserError, match="'State-gov' in line 1"):
        open_data(tables / "adult-train.csv.gz")
