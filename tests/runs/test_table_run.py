"""A table trained, sampled, with columns given and holes filled: from the command line, and back as a table."""

import csv
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

import undiffuse
from undiffuse.cli import main
from undiffuse.codec import Standard
from undiffuse.core.errors import UserError
from undiffuse.data.own import TableFile
from undiffuse.data.readers.table import read_table
from undiffuse.kind import evaluate
from undiffuse.kind.table import TableKind
from undiffuse.net import MLP
from undiffuse.net.table import TableMLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipes import RECIPES, own_data
from undiffuse.run.given import Given
from undiffuse.run.run import Run
from undiffuse.train.loop import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Colour decides the size, mostly; 1,200 rows of every kind of column."""
    folder = tmp_path_factory.mktemp("table")
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(1200, 4, generator=generator).tolist()
    with (folder / "things.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["id", "colour", "size", "count", "made", "shop"])
        for k, (u, v, w, y) in enumerate(uniform):
            red = u < 0.5
            size = f"{(10 if red else 20) + 2 * v:.2f}" if w < 0.8 else ""
            write.writerow([f"t{k % 60}", "red" if red else "blue", size, int(5 * y), f"2026-{1 + k % 12:02}-15", "A"])
    return folder


@pytest.fixture(scope="module")
def run(folder):
    recipe = own_data(folder / "things.csv").override("data.frequent", "20")
    recipe = recipe.changed(net=TableMLP(width=64, depth=2), steps=1000, batch=256, warmup=10, precision="fp32")
    return train(recipe.changed(report_every=1000, save_every=1000, sampling_steps=25), folder / "run", quiet=True)


def test_samples_are_rows_of_the_table(run, folder):
    data = read_table(folder / "things.csv")
    x = run.sample(600, seed=1)
    assert x.shape == (600, 6) and x.dtype == torch.float64
    red = x[:, 1] == data.schema[1].categories.index("red")
    assert 0.35 < red.double().mean() < 0.65
    size = x[:, 2]
    known = ~size.isnan()
    assert 0.7 < known.double().mean() < 0.9
    right = torch.where(red, (size > 9.9) & (size < 12.1), (size > 19.9) & (size < 22.1))[known]
    assert right.double().mean() > 0.9
    assert set(x[:, 3].tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert torch.equal(run.sample(7, seed=1, batch=3), x[:7]) or (run.sample(7, seed=1) == x[:7])[:, 1].all()


def test_what_a_table_cannot_do_is_said_before_it_is_done(run, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    given_or_not = (["--given", "colour=red"], [])
    for words, said in (
        ("--sampler heun", "heun cannot sample numbers beside tokens; choose one of ddpm"),
        ("--grid nonsense", "unknown grid"),
        ("--label 7", "trained without labels"),
        ("--guidance 7", "guidance needs labels"),
        ("--seed -1", "seed must be at least 0"),
        ("--steps 0", "steps must be at least 1"),
        ("--out x.png", "rows are saved as .csv or .tsv"),
    ):
        for more in given_or_not:
            assert main(["sample", "run", "-n", "3", *words.split(), *more]) in (1, 2)
            assert said in capsys.readouterr().err
    assert not (folder / "samples.csv").exists()
    assert main(["evaluate", "run", "--sampler", "heun"]) == 2
    assert "heun cannot sample" in capsys.readouterr().err
    assert evaluate(run, 200, run.sampling.override(steps=3)).protocol["network evaluations"] == 3


def test_what_is_written_is_such_a_table(run, folder):
    out = folder / "out.csv"
    assert main(["sample", str(folder / "run"), "-n", "400", "--out", str(out), "--steps", "15"]) == 0
    made, data = read_table(out), read_table(folder / "things.csv")
    assert [(c.name, c.kind, c.decimals) for c in made.schema] == [(c.name, c.kind, c.decimals) for c in data.schema]


def given(run: Run, columns: dict[str, str], count: int) -> Tensor:
    return run.sample(count, given=TableKind().given(run, columns))


def test_columns_given_come_back_and_decide_the_rest(run):
    for colour, low in (("red", 10.0), ("blue", 20.0)):
        x = given(run, {"colour": colour, "shop": "A"}, 300)
        assert (x[:, 1] == run.codec.schema[1].value(colour)).all()
        size = x[:, 2][~x[:, 2].isnan()]
        assert ((size > low - 0.1) & (size < low + 2.1)).double().mean() > 0.9
    x = given(run, {"size": "11.00", "made": "2026-03-15"}, 300)
    assert (x[:, 2] == 11).all() and (x[:, 1] == run.codec.schema[1].value("red")).double().mean() > 0.9
    assert given(run, {"size": ""}, 20)[:, 2].isnan().all()


def test_holes_are_filled_by_what_is_known(run):
    x = run.dataset("test").x.clone()
    x[:, 1] = torch.nan
    filled = run.sample(len(x), given=Given.missing(x, complete=True))
    assert not filled.isnan().any() and torch.equal(filled[~x.isnan()], x[~x.isnan()])
    size, red = x[:, 2], filled[:, 1] == run.codec.schema[1].value("red")
    assert (red == (size < 15))[~size.isnan()].double().mean() > 0.9
    assert ((filled[:, 2] < 15) == red).double().mean() > 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample RUN --given colour=rad", "unknown category 'rad'; did you mean red"),
        ("sample RUN --given color=red", "unknown column 'color'; did you mean colour"),
        ("sample RUN --given size=99", "size=99 was never seen: 10.0"),
        ("sample RUN --given colour=", "colour"),
        ("sample RUN --given made=soon", "holds dates like 1970-01-01, not 'soon'"),
        ("sample RUN --given red", "expected COLUMN=VALUE"),
        ("sample RUN --out x.png", "rows are saved as .csv or .tsv"),
        ("sample RUN --sampler heun", "choose one of ddpm"),
        ("sample RUN --label red", "trained without labels"),
        ("animate RUN", "not filmed"),
        ("compare RUN", "nothing to compare"),
        ("impute RUN nothing.csv", "nothing.csv"),
        ("evaluate RUN --target hue -n 50", "unknown column 'hue'"),
        ("evaluate RUN --target size -n 50", "size is a number; what is predicted is a category: id, colour"),
        ("train table", "which table? add --data"),
        ("train swiss-roll --net table-mlp", "what diffuses here is numbers"),
        ("train table --data THINGS --net mlp", "--net table-mlp"),
        ("train table --data THINGS --data.types colr=category", "did you mean colour"),
    ],
)
def test_mistakes(run, folder, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    argv = words.replace("RUN", str(run.folder)).replace("THINGS", str(folder / "things.csv")).split()
    code, error = main(argv), capsys.readouterr().err
    assert code in (1, 2) and message in error and error.count("\n") == 1, error


def test_a_run_of_anything_else_gives_no_columns(run):
    other = replace(run, codec=Standard().build("points", (1,)))
    with pytest.raises(UserError, match="only of a table"):
        given(other, {"a": "1"}, 1)


def test_what_is_a_table(folder, tmp_path):
    (tmp_path / "points.csv").write_text("a,b\n" + "1,2\n3,4\n" * 9)
    (tmp_path / "holes.csv").write_text("a,b\n" + "1,2\n3,4\n,5\n" * 9)
    assert own_data(tmp_path / "points.csv").model == GaussianDiffusion(MLP(width=128))
    assert own_data(tmp_path / "holes.csv").data == TableFile(str((tmp_path / "holes.csv").resolve()))
    assert RECIPES["table"]().override("data.types", "a=number,b=category").data.types == ("a=number", "b=category")


@pytest.mark.parametrize("text", ["c,d\n" + "".join(f"{a},{b}\n" for a, b in product("xyz", "uv")) * 4])
def test_a_table_of_categories_alone(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    recipe = own_data(tmp_path / "a.csv").changed(steps=3, batch=8, net=TableMLP(width=8, depth=1), sampling_steps=3)
    train(recipe, tmp_path / "run", quiet=True)
    assert undiffuse.load(tmp_path / "run").sample(5).shape == (5, 2)
