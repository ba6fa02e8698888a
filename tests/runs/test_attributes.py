"""Several attributes at once: asked for by name, dropped in training, summed in the network, and learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import undiffuse
from undiffuse.cli.arguments import labels
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.label import combined, conditions_of, labelled, labels_of, names_of, specifications_of
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import random_conditions
from undiffuse.data.own import Files
from undiffuse.data.readers.open import open_data
from undiffuse.kind import evaluate
from undiffuse.net import MLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Guidance, Sampling
from undiffuse.train.loop import train

NAMES = {"side": ("left", "right"), "height": ("low", "middle", "high")}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("3", ["3"]),
        ("3, 5", ["3", "5"]),
        ("digit=3", {"digit": ["3"]}),
        ("digit=3,5,colour=dark red", {"digit": ["3", "5"], "colour": ["dark red"]}),
    ],
)
def test_the_words_of_the_command_line(words, meant):
    assert labels(words) == meant


def test_combinations():
    labels = torch.tensor([[0, 0], [0, 2], [1, 0], [1, -1]])
    one, names = combined(labels, NAMES)
    assert one.tolist() == [0, 2, 3, -1] and len(names) == 6
    assert [names[k] for k in one[:3]] == ["left low", "left high", "right low"]


def test_the_encoder_adds_attributes():
    """The vector of several labels, before its last step, is the sum of those of each, for "none" too."""
    torch.manual_seed(0)
    specifications = specifications_of({"one": ("a", "b"), "other": ("c", "d", "e")})
    tables = Encoder(specifications, 8).entries
    columns = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 3)).unbind(1)
    every = conditions_of(torch.stack(columns, 1), names_of(specifications)).entries.values()
    vectors = torch.stack([table(entry).vector for table, entry in zip(tables, every, strict=True)]).sum(0)
    assert len(vectors.unique(dim=0)) == 12
    torch.testing.assert_close(vectors[0], sum(table(None).vector for table in tables)[0])


# ------------------------------------------------------------------------------------------------------ data


def four_places(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Points left or right, low or high, and a row of each attribute."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (count, 2))
    return (4 * labels - 2 + 0.3 * rng.normal(size=(count, 2))).astype(np.float32), labels


def test_npz_and_csv_with_attributes(tmp_path):
    x, labels = four_places(40)
    words = np.array([["left", "right"][a] + " " + ["low", "high"][b] for a, b in labels])
    told = np.array([word.split() for word in words])
    told[0, 0] = ""
    np.savez(tmp_path / "a.npz", x=x, y=told, attributes=["side", "height"])
    rows = [f"{a},{b},{s},{h}" for (a, b), (s, h) in zip(x, np.char.partition(words, " ")[:, ::2], strict=True)]
    (tmp_path / "b.csv").write_text("\n".join(["x,y,label.side,label.height", *rows]))
    npz, csv = (open_data(tmp_path / name, split="all") for name in ("a.npz", "b.csv"))
    assert npz.label_names == csv.label_names == {"side": ("left", "right"), "height": ("high", "low")}
    assert csv.columns == ("x", "y") and npz.labels[0, 0] == -1
    assert torch.equal(npz.labels[1:], csv.labels[1:])
    assert (labels_of(random_conditions(npz, 200), npz.specifications) >= 0).all()
    train_part, test_part = npz.split(0.2)
    assert len(train_part) + len(test_part) == 40


def test_labels_out_of_range_are_told_by_attribute():
    with pytest.raises(UserError, match="labels run from 0 to 2; 2 names allow 0 to 1"):
        labelled(torch.tensor([[0, 0], [1, 2], [0, 1]]), {"a": ("x", "y"), "b": ("x", "y")})
    with pytest.raises(UserError, match=r"labels are \(count, 2\) int64, one for each attribute of a row"):
        labelled(torch.tensor([0, 1, 1]), {"a": ("x", "y"), "b": ("x", "y")})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four places in the plane, by side and by height; a few labels are not known."""
    folder = tmp_path_factory.mktemp("attributes")
    x, labels = four_places()
    told = np.array([["left", "right"], ["low", "high"]])[[0, 1], labels].astype(object)
    told[:30, 1] = ""
    np.savez(folder / "places.npz", x=x, y=told.astype(str), attributes=["side", "height"])
    recipe = Recipe(
        Files(str(folder / "places.npz")),
        GaussianDiffusion(MLP(width=32, depth=2)),
        training=Training(steps=500, batch=256, lr=3e-3, warmup=20, report_every=500, each_dropout=0.2),
        sampling=Sampling(sampler="dpm++2m", steps=10),
    )
    return train(recipe, folder / "run", quiet=True)


def test_trained_and_asked_by_name(run):
    """Each attribute moves its own column, alone or with the other, after loading too."""
    run = undiffuse.load(run.folder)
    assert run.label_names == {"side": ("left", "right"), "height": ("high", "low")}
    for label, signs in (
        ({"side": "left", "height": "high"}, (-1, 1)),
        ({"side": "right", "height": "low"}, (1, -1)),
    ):
        x = run.sample(60, label=label)
        assert ((x.sign() == torch.tensor(signs)).all(1)).double().mean() > 0.9
    alone = run.sample(200, label={"side": "left", "height": "none"})
    assert (alone[:, 0] < 0).double().mean() > 0.9 and 0.2 < (alone[:, 1] < 0).double().mean() < 0.8
    assert run.labels(5, label={"side": "left"}).tolist() == [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]]


def test_guided_on_one_attribute_the_other_is_kept(run):
    label = {"side": "left", "height": "high"}
    plain = run.sample(100, label=label)
    weak = run.sample(100, label=label, guidance=Guidance(0.0, negative={"side": "right"}))
    torch.testing.assert_close(weak, run.sample(100, label={"side": "right", "height": "high"}), rtol=1e-4, atol=1e-4)
    guided = run.sample(100, label=label, guidance=Guidance(2.0, negative={"side": "right"}))
    assert guided[:, 0].mean() < plain[:, 0].mean() - 0.3 and (guided[:, 1] > 0).double().mean() > 0.9
    off = run.sample(100, label=label, guidance=Guidance(1.0, negative={"side": "right"}))
    assert torch.equal(off, plain)
    with pytest.raises(UserError, match="--attribute-dropout"):
        strict = replace(run, recipe=run.recipe.changed(each_dropout=0.0))
        strict.sample(2, label=label, guidance=Guidance(3.0, negative={"side": "none"}))
    with pytest.raises(UserError, match="none for some conditions"):
        strict.sample(2, label={"side": "none"})


def test_evaluated_on_combinations(run):
    found = evaluate(run, count=50)
    assert found["label accuracy"].floor > 0.9


def test_drawn_and_described(run, tmp_path, capsys):
    from undiffuse.cli import main

    words = ["sample", str(run.folder), "-n", "8", "--label", "side=left,height=low,high"]
    assert main([*words, "--out", str(tmp_path / "x.csv")]) == 0
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in lines] == ["label", *["left low", "left high"] * 4]
    assert main([*words, "--out", str(tmp_path / "x.png")]) == 0
    assert main(["data", str(run.folder)]) == 0
    assert "height: 2 labels: high" in capsys.readouterr().out
