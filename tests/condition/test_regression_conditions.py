"""Conditions of numbers, end to end: from a .csv, a .npz or a conditions.csv to samples and their report."""

import csv

import numpy as np
import pytest
import torch

import undiffuse
from undiffuse.cli import main
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.label import written
from undiffuse.condition.picture import Picture
from undiffuse.condition.specification import Labels, Numbers, Text, Vector
from undiffuse.core.errors import UserError
from undiffuse.data.conditioned import conditioned
from undiffuse.data.describe import describe
from undiffuse.data.own import Files, TableFile
from undiffuse.data.readers.open import open_data

QUICK = [
    "--steps",
    "400",
    "--batch",
    "256",
    "--report-every",
    "400",
    "--save-every",
    "400",
    "--warmup",
    "10",
    "--quiet",
]


def people(path, count=1200, who=False):
    """Two numbers, age/10 and height/10 but for a little noise; with ``who``, a category that moves the first."""
    rng = np.random.default_rng(0)
    age, height = rng.uniform(20, 80, count), rng.uniform(150, 190, count)
    species = rng.choice(["cat", "dog"], count)
    x = age / 10 + (10 * (species == "dog") if who else 0) + 0.1 * rng.normal(size=count)
    y = height / 10 + 0.1 * rng.normal(size=count)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "y", "age", "height", *(["who"] if who else [])])
        for k in range(count):
            cells = [f"{x[k]:.3f}", f"{y[k]:.3f}", f"{age[k]:.1f}", f"{height[k]:.1f}"]
            rows.writerow([*cells, *([species[k]] if who else [])])
    return path


def shaded(folder, count=40):
    """Pictures of one shade each, and a file that says which."""
    from PIL import Image

    folder.mkdir()
    rows = []
    for k in range(count):
        shade = 40 + 4 * k
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(folder / f"{k:02}.png")
        rows.append(f"{k:02}.png,{shade / 100},{'dark' if shade < 120 else 'light'}")
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Points given age and height, trained from the command line."""
    folder = tmp_path_factory.mktemp("people")
    path, out = people(folder / "people.csv"), folder / "run"
    words = ["train", str(path), "--condition", "age,height", "--net.width", "48", "--net.waves", "0", *QUICK]
    assert main([*words, "--lr", "5e-3", "--out", str(out)]) == 0
    return undiffuse.load(out)


def test_what_is_asked_for_is_made(run):
    assert list(run.specifications) == ["age", "height"] and run.columns == ("x", "y")
    for age, height in ((30, 160), (70, 180)):
        x = run.sample(200, {"age": age, "height": height})
        assert (x.mean(0) - torch.tensor([age / 10, height / 10])).abs().max() < 0.6
    in_turn = run.sample(200, age=[30, 70], height=170)
    assert in_turn[::2, 0].mean() < 4.5 and in_turn[1::2, 0].mean() > 5.5
    alone = run.sample(300, age=30)  # the height is left open
    assert alone[:, 0].mean() < 4.5 and alone[:, 1].std() > 0.5
    assert run.sample(300)[:, 0].std() > 1


def test_the_short_form_is_the_general_one(run):
    one = run.sample(5, {"age": 30, "height": "170"}, seed=2)
    assert torch.equal(one, run.sample(5, {"age": 30}, seed=2, height=170.0))
    assert torch.equal(run.sample(3, run.conditions(5, age=30)[:3], seed=2), run.sample(3, age=30, seed=2))


def test_the_command_line(run, tmp_path, capsys):
    out = tmp_path / "x.npy"
    words = ["sample", str(run.folder), "-n", "4", "--seed", "2", "--out", str(out)]
    assert main([*words, "--cond", "age=30,height=170"]) == 0
    assert np.array_equal(np.load(out), run.sample(4, age=30, height=170, seed=2).numpy())
    for asked, said in (
        ("ages=30", "unknown condition 'ages'; did you mean age?"),
        ("age=old", "age is a number, not 'old'"),
        ("age=nan", "age must be finite"),
        ("30", "expected NAME=VALUE"),
    ):
        assert main([*words, "--force", "--cond", asked]) == 2
        assert said in capsys.readouterr().err
    assert main([*words, "--force", "--cond", "age=300,height=170"]) == 0
    assert "undiffuse: note: age=300 is outside the training data" in capsys.readouterr().err
    assert main(["data", str(run.folder)]) == 0
    assert "age: a condition, 20" in capsys.readouterr().out


def test_samples_are_saved_with_what_was_asked_for(run, tmp_path):
    """And read again with it: training from such a file learns the same columns, given the same."""
    words = ["sample", str(run.folder), "-n", "20", "--cond", "age=30,54.3,none,height=170"]
    for ending in ("npz", "csv"):
        assert main([*words, "--out", str(tmp_path / f"x.{ending}")]) == 0
        data = open_data(tmp_path / f"x.{ending}", split="all")
        assert torch.equal(data.x, run.sample(20, age=[30, 54.3, "none"], height=170))
        assert list(data.specifications) == ["age", "height"]
        for name, asked in (("age", [30, 54.3, float("nan")]), ("height", [170] * 3)):
            values, present = data.conditions.entries[name]
            numbers = data.specifications[name].numbers(values)[:, 0].masked_fill(~present, torch.nan)
            wanted = torch.tensor(asked, dtype=torch.float64).repeat(7)[:20]
            torch.testing.assert_close(numbers, wanted, rtol=0, atol=1e-5, equal_nan=True)
    header, first, *_ = (tmp_path / "x.csv").read_text().splitlines()
    assert header == "x,y,condition.age,condition.height" and first.endswith(",30.0,170.0")
    trained = [*QUICK, "--steps", "2", "--report-every", "2", "--condition", "age", "--out", str(tmp_path / "again")]
    assert main(["train", str(tmp_path / "x.csv"), *trained]) == 0
    again = undiffuse.load(tmp_path / "again")
    assert again.shape == run.shape and list(again.specifications) == ["age", "height"]


def test_a_file_of_samples_reads_as_it_did(tmp_path):
    """What stands beside x and its labels changes neither."""
    x, y = np.random.default_rng(0).normal(size=(6, 2)), np.arange(6) % 2
    beside = {"condition.age": np.linspace(20, 70, 6), "condition.side": np.array(["left", "right"] * 3)}
    for name, more in (("before", {}), ("now", beside)):
        np.savez(tmp_path / f"{name}.npz", x=x, labels=y, label_names=["left", "right"], **more)
    before, now = (open_data(tmp_path / f"{name}.npz", split="all") for name in ("before", "now"))
    assert torch.equal(now.x, before.x) and torch.equal(now.labels, before.labels)
    assert list(now.specifications) == ["label", "age"] and now.label_names == before.label_names
    for wrong in (np.arange(5.0), np.array(3.5), np.empty((6, 0))):
        np.savez(tmp_path / "wrong.npz", x=x, **{"condition.age": wrong})
        with pytest.raises(UserError, match="values of the condition 'age' for 6 rows"):
            open_data(tmp_path / "wrong.npz")


def test_every_kind_of_condition_is_written():
    entries = {
        "side": (Labels(("left", "right")), torch.tensor([1, 0]), ["right", ""]),
        "age": (Numbers.measure(["age"], torch.tensor([[20.0], [70.0]])), torch.tensor([[0.2], [0.0]]), [50.0, np.nan]),
        "vector": (Vector(2), torch.tensor([[0.5, 2.0], [0.0, 0.0]]), [[0.5, 2.0], [np.nan, np.nan]]),
        "words": (Text(2, 9), torch.tensor([[3, 9], [1, 1]]), [[3, 9], [9, 9]]),
        "below": (Picture((1, 1, 1)), torch.tensor([0.5, 0.0]).view(2, 1, 1, 1), [[[[0.5]]], [[[np.nan]]]]),
        "label": (Labels(("a",)), torch.tensor([0, 0]), None),
    }
    present = torch.tensor([True, False])
    conditions = Conditions({name: Entry(values, present) for name, (_, values, _) in entries.items()})
    found = written(conditions, {name: one for name, (one, _, _) in entries.items()})
    assert list(found) == [*entries][:-1] and written(None, {}) == {}
    of = Numbers(("age",), (50.0,), (17.3,), (20.0,), (80.0,))
    for age in (30.0, 54.3, 300.0, -1000.0):  # what was asked for, however far out
        assert of.written(of.entry(torch.tensor([[age]], dtype=torch.float64))).tolist() == [age]
    for name, values in found.items():
        np.testing.assert_array_equal(values, entries[name][2])


def test_the_report_says_how_well_samples_agree_with_numbers(run):
    from undiffuse.kind import evaluate

    found = evaluate(run, count=120)
    for name in ("agreement: age", "agreement: height"):
        assert found[name].value > 0.5 and found[name].floor > 0.8
    assert found.protocol["conditions"] == "of random training rows"


def test_guided_away_from_a_number(run):
    from undiffuse.sampling.sampling import Guidance

    plain = run.sample(100, age=50, height=170)
    away = run.sample(100, age=50, height=170, guidance=Guidance(2.0, negative={"age": 30}))
    assert away[:, 0].mean() > plain[:, 0].mean() + 0.5
    weak = run.sample(100, age=50, height=170, guidance=Guidance(0.0, negative={"age": 30}))
    torch.testing.assert_close(weak, run.sample(100, age=30, height=170), rtol=1e-3, atol=1e-3)


def test_a_table_given_numbers_and_a_category(tmp_path):
    path = people(tmp_path / "people.csv", 800, who=True)
    words = ["train", str(path), "--condition", "age,who", "--net.width", "48", "--net.depth", "2", *QUICK]
    assert main([*words, "--lr", "5e-3", "--out", str(tmp_path / "run")]) == 0
    run = undiffuse.load(tmp_path / "run")
    assert run.kind == "table" and list(run.specifications) == ["age", "who"]
    cat, dog = (run.sample(100, age=50, who=name)[:, 0].mean() for name in ("cat", "dog"))
    assert dog > cat + 5
    assert (run.sample(100, label="dog", age=50)[:, 0].mean() - dog).abs() < 1
    train, test = run.dataset("train"), run.dataset("test")
    assert train.specifications == test.specifications


# ------------------------------------------------------------------------------------------------- the data


def test_columns_become_conditions(tmp_path):
    path = people(tmp_path / "people.csv", 50, who=True)
    data = TableFile(str(path), condition=("age", "who")).open("all")
    assert [column.name for column in data.schema] == ["x", "y", "height"] and data.x.shape == (50, 3)
    assert isinstance(data.specifications["age"], Numbers) and isinstance(data.specifications["who"], Labels)
    points = open_data(people(tmp_path / "points.csv", 50), split="all")
    for names, said in (
        (("aeg",), "unknown column 'aeg'; did you mean age"),
        (("x", "y", "age", "height"), "every column is a condition"),
    ):
        with pytest.raises(UserError, match=said):
            conditioned(points, names)
    with pytest.raises(UserError, match=r"in a conditions.csv beside them"):
        Files(str(tmp_path), condition=("age",)).open()


def test_missing_cells_are_absent(tmp_path):
    (tmp_path / "t.csv").write_text("x,age,who\n1.5,30,a\n2.5,,b\n3.5,40,\n4.5,50,a\n")
    data = TableFile(str(tmp_path / "t.csv"), condition=("age", "who")).open("all")
    assert data.conditions.entries["age"].present.tolist() == [True, False, True, True]
    assert data.conditions.entries["who"].present.tolist() == [True, True, False, True]


def test_floats_in_an_npz_are_numbers(tmp_path):
    """Not hundreds of classes; whole numbers stored as floats are labels as ever."""
    x, y = np.random.default_rng(0).normal(size=(2, 30, 2))
    y[3, 0] = np.nan
    np.savez(tmp_path / "a.npz", x=x, y=y[:, 0])
    data = open_data(tmp_path / "a.npz", split="all")
    assert data.specifications["y"].columns == ("y",) and data.label_names == ()
    assert data.conditions.entries["y"].present.tolist() == [k != 3 for k in range(30)]
    assert "y: a condition" in describe(data, "points of {} numbers", [])
    np.savez(tmp_path / "b.npz", x=x, y=y)
    assert open_data(tmp_path / "b.npz", split="all").specifications["y"].columns == ("y1", "y2")
    np.savez(tmp_path / "c.npz", x=x, y=y, attributes=["age", "height"])
    assert list(open_data(tmp_path / "c.npz", split="all").specifications) == ["age", "height"]
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(30) % 3 * 1.0)
    assert open_data(tmp_path / "d.npz", split="all").label_names == ("0", "1", "2")
    np.savez(tmp_path / "e.npz", x=x, y=np.where(np.arange(30) == 2, np.inf, y[:, 1]))
    with pytest.raises(UserError, match="'y' holds infinite numbers"):
        open_data(tmp_path / "e.npz")


def test_a_folder_with_a_conditions_csv(tmp_path):
    rows = shaded(tmp_path / "shades")
    lost = ["gone.png,3.0,dark"]
    (tmp_path / "shades" / "conditions.csv").write_text("\n".join(["file,shade,kind", *rows[2:], *lost]) + "\n")
    data = open_data(tmp_path / "shades", split="all")
    assert data.shape == (1, 4, 4) and list(data.specifications) == ["shade", "kind"]
    present = data.conditions.entries["shade"].present
    assert present.tolist() == [False] * 2 + [True] * 38
    shade = data.specifications["shade"].numbers(data.conditions.entries["shade"].values)[:, 0]
    torch.testing.assert_close(100 * shade[2:], data.x[2:, 0, 0, 0].double(), rtol=0, atol=0.01)
    notes = " ".join(data.notes)
    assert "names 1 pictures that are not there, such as 'gone.png'" in notes
    assert "2 pictures are not in conditions.csv, such as 00.png" in notes
    assert open_data(tmp_path / "shades", split="test").specifications == data.specifications


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,shade\nnone.png,1\nneither.png,2\n", "names no picture of the folder; 'none.png' is not there"),
        ("file\n00.png\n01.png\n", "one column"),
        ("file,shade\n00.png,1\n./00.png,2\n", "named twice"),
        ("file,shade\n00.png,\n01.png,\n02.png,\n", "'shade' is missing in every row"),
    ],
)
def test_a_conditions_csv_that_is_none(tmp_path, text, said):
    shaded(tmp_path / "shades", 3)
    (tmp_path / "shades" / "conditions.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        open_data(tmp_path / "shades")


def test_a_column_of_captions(tmp_path):
    rows = shaded(tmp_path / "shades")
    text = [f"{row.split(',')[0]},{row.split(',')[1]},a picture of number {k}" for k, row in enumerate(rows)]
    (tmp_path / "shades" / "conditions.csv").write_text("\n".join(["file,shade,caption", *text]) + "\n")
    data = open_data(tmp_path / "shades", split="all")
    assert list(data.specifications) == ["shade", "text"]
    assert data.specifications["text"].say(data.conditions.entries["text"].values[2]).startswith("a picture of number")
    assert not any("caption" in note for note in data.notes)


def test_pictures_given_a_number(tmp_path):
    """From a folder, trained and asked: the shade is what was asked for."""
    rows = shaded(tmp_path / "shades")
    (tmp_path / "shades" / "conditions.csv").write_text("\n".join(["file,shade,kind", *rows]) + "\n")
    words = ["train", str(tmp_path / "shades"), "--net.width", "16", "--net.embedding", "32", "--steps", "150"]
    words += ["--batch", "32", "--warmup", "5", "--report-every", "150", "--save-every", "150", "--quiet"]
    assert main([*words, "--lr", "4e-3", "--precision", "fp32", "--out", str(tmp_path / "run")]) == 0
    run = undiffuse.load(tmp_path / "run")
    means = [run.sample(16, shade=shade, guidance=1.0).float().mean() for shade in (0.6, 1.8)]
    assert means[1] - means[0] > 60
    assert run.sample(2, shade=1.0, label="dark").shape == (2, 1, 4, 4)
    out = tmp_path / "x.npz"
    assert main(["sample", str(run.folder), "-n", "4", "--cond", "shade=0.6,1.8,kind=dark", "--out", str(out)]) == 0
    with np.load(out) as arrays:
        assert arrays["condition.shade"].tolist() == [0.6, 1.8, 0.6, 1.8]
        assert arrays["condition.kind"].tolist() == ["dark"] * 4 and arrays["label_names"].tolist() == ["dark", "light"]
    data = open_data(out, split="all")
    assert data.kind == "pictures" and torch.equal(data.x, run.sample(4, shade=[0.6, 1.8], kind="dark"))
    assert list(data.specifications) == ["label", "shade"]
