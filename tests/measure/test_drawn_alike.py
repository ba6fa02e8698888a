"""Whatever the order of the rows, and wherever they come from: perfect samples are at their floor.

A value and its floor are drawn in the same way: at random, as many rows, held against the same held-out rows. Files
come sorted, and held-out data is seldom quite as training data is (the end of a text, other writers).
"""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from undiffuse.data.alphabet import Characters
from undiffuse.data.column import Column
from undiffuse.data.dataset import Dataset
from undiffuse.data.ready import Toy
from undiffuse.kind import compare, evaluate
from undiffuse.measure import MEASURES, regression, report
from undiffuse.measure.regression import r_squared
from undiffuse.measure.table import table_report
from undiffuse.measure.text import text_report
from undiffuse.net import MLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipes import RECIPES
from undiffuse.run.run import Run, Samples
from undiffuse.train.loop import train
from undiffuse.train.report import reporter_of

MODEL = GaussianDiffusion(MLP())  # that is reported on: one that samples
LOWER = ("sliced Wasserstein", "energy distance", "MMD", "Frechet distance", "columns", "worst column", "pairs")
ALPHABET = Characters.of("abcd")
QUICK = [measure for measure in MEASURES if measure.numbers[0].name != "two-sample accuracy"]
SCHEMA = (Column("x", "number"), Column("y", "number"), Column("hue", "category", ("red", "blue", "green")))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(count, seed):
    return torch.randn(count, 2, generator=generator(seed)) + torch.tensor([3.0, 0.0])


def table(count, seed):
    hue = torch.randint(3, (count, 1), generator=generator(seed)).double()
    return torch.cat([points(count, seed + 100).double() + hue, hue], 1)


def text(count, seed, a=0.25):
    """Letters as likely as each other, or with more of the first."""
    law = torch.tensor([a, *[(1 - a) / 3] * 3])
    return torch.multinomial(law.expand(count, 4), 40, replacement=True, generator=generator(seed)).to(torch.uint8)


def in_order(x):
    """As a file sorted by its first number."""
    return x[x[:, 0].double().argsort() if x.ndim == 2 and x.is_floating_point() else x.double().mean(1).argsort()]


REPORTS = {
    "points": (points, lambda samples, held_out, train: report(samples, held_out, train=train, measures=QUICK)),
    "a table": (table, lambda samples, held_out, train: table_report(samples, held_out, train, SCHEMA)),
    "a text": (text, lambda samples, held_out, train: text_report(samples, held_out, train, ALPHABET)),
}
every = pytest.mark.parametrize(("draw", "measured"), REPORTS.values(), ids=REPORTS)


def rows_of(draw, most):
    """Fewer are compared than there are, so that the first are not all: of samples, or of held-out rows."""
    counts = (1500, 300) if most == "samples" else (300, 1500)
    return {"samples": draw(counts[0], 0), "held out": draw(counts[1], 1), "train": draw(3000, 2)}


@cache
def shuffled(draw, measured, most):
    return measured(*rows_of(draw, most).values())


@every
@pytest.mark.parametrize(
    ("most", "sorted_ones"), [("samples", "samples"), ("held out", "held out"), ("held out", "samples held out train")]
)
def test_the_order_of_rows_says_nothing(draw, measured, most, sorted_ones):
    found = measured(*(in_order(x) if name in sorted_ones else x for name, x in rows_of(draw, most).items()))
    usual = shuffled(draw, measured, most)
    for row in found.rows:
        if row.name in LOWER or (row.name.endswith(("tokens", "in a row"))):
            most_allowed = (6 if row.name == "Frechet distance" else 2.5) * usual[row.name].floor
            assert row.value < most_allowed and row.floor < most_allowed, row
        if row.name == "detector AUC":
            assert row.value < 0.58 and row.floor < 0.58, row


@every
def test_held_out_data_of_another_law_is_as_far_from_perfect_samples_as_the_floor_says(draw, measured):
    """What is trained on is all that samples can be like: the floor is no nearer than that."""
    shifted = {points: lambda: points(400, 1) + 1, table: lambda: table(400, 1) + torch.tensor([1.0, 0, 0])}
    held_out = shifted.get(draw, lambda: text(400, 1, a=0.4))()
    found = measured(draw(400, 0), held_out, draw(3000, 2))
    for row in found.rows:
        if row.name in (*LOWER, "single tokens", "detector AUC", "density", "coverage"):
            assert 0.8 < row.ratio < 1.25, row


def test_samples_are_held_to_the_rows_that_their_floor_is_held_to():
    """Samples that are the training rows have the floor itself, not one of other rows."""
    held_out, rows = points(200, 1), points(200, 2)
    for row in report(rows, held_out, train=rows, measures=QUICK).rows:
        if row.name not in ("copied", "nearest training example"):
            assert row.value == pytest.approx(row.floor, rel=1e-6), row


class Learned:
    """Stands for a judge that knows its training rows by heart: it sees them all alike, and others as they are."""

    accuracy = 1.0

    def __init__(self, rows):
        self.rows = rows

    def features(self, x):
        known = (x[:, None] == self.rows).all(-1).any(1)
        return torch.where(known[:, None], 0.1 * x, x)

    def predict(self, x):
        return torch.zeros(len(x), dtype=torch.int64)

    def probabilities(self, x):
        return torch.nn.functional.one_hot((100 * x[:, 1].abs()).long() % 10, 10).double()  # ten labels, clearly


def test_a_judge_s_features_are_not_compared_of_rows_that_it_was_trained_on():
    """It is surer of those: were they to stand for samples, perfect ones would seem to miss much of the data."""
    train, held_out = points(900, 2), points(900, 1)
    found = report(points(300, 0), held_out, train=train, judge=Learned(train))
    for name in ("recall", "density", "coverage", "precision", "two-sample accuracy"):
        assert 0.85 < found[name].ratio < 1.15, found[name]
    few = report(points(300, 0), held_out[:20], train=train, judge=Learned(train), measures=QUICK)
    assert few.protocol["held-out rows"] == 20  # filled up, where held-out rows are too few for a floor


def test_scores_that_grow_with_the_count_are_of_equal_counts():
    """An inception score is at most the number of rows; of two samples, so is its floor."""
    two, held_out = points(2, 0), points(500, 1)
    found = report(two, held_out, train=held_out, judge=Learned(two), labels=torch.zeros(2).long(), measures=())
    assert found["inception score"].value <= 2.001 and found["inception score"].floor <= 2.001


def test_a_regression_is_fitted_on_rows_of_all_of_a_sorted_file(monkeypatch):
    """Trees say nothing of values that they have not seen; `ROWS` of the first are the lowest alone."""
    monkeypatch.setattr(regression, "ROWS", 500)
    x = in_order(points(5000, 0))
    made, real = r_squared((x, x[:, 0]), *((rows, rows[:, 0]) for rows in (points(300, 1), points(300, 2))), seed=2**40)
    assert made > 0.95 and real > 0.95


def test_the_share_of_held_out_rows_that_are_copies_is_the_floor_of_copied():
    """Of data that repeats, held-out rows are copies too."""
    few = torch.randint(4, (600, 2), generator=generator(0)).float()
    found = report(few[:200], few[200:400], train=few[400:], measures=())
    assert found["copied"].value == found["copied"].floor == 1


# ------------------------------------------------------------------------------------------ in a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recipe = RECIPES["swiss-roll"]()
    model = replace(recipe.model, net=MLP(width=8))
    tiny = replace(recipe.training, steps=2, batch=8, report_every=2, save_every=2)
    recipe = replace(recipe, data=Toy("swiss-roll", 4000), model=model, training=tiny)
    return train(recipe, tmp_path_factory.mktemp("run") / "run", quiet=True)


@pytest.fixture
def perfect(run, monkeypatch):
    """A run whose samples are fresh points of the data's law, and whose held-out points come in order."""
    fresh, opened = Toy("swiss-roll", 6000, seed=9), Run.dataset

    def dataset(self, split="train"):
        data = opened(self, split)
        return data.take(data.x[:, 0].argsort()) if split == "test" else data

    monkeypatch.setattr(Run, "dataset", dataset)

    def drawn(self, count, labels=None, sampling=None):
        first = (sampling or self.sampling).seed % 3 * count
        return Samples(fresh.open().x[first : first + count], None)

    monkeypatch.setattr(Run, "draw", drawn)
    return run


def test_evaluate_and_compare_read_a_sorted_file_as_any_other(perfect):
    found = evaluate(perfect, 1000)
    for name in ("sliced Wasserstein", "energy distance", "MMD"):
        assert found[name].ratio < 2.5 and found[name].value < 0.15, found[name]
    assert found["two-sample accuracy"].value < 0.55
    trials = compare(perfect, ["ddim"], [2], seeds=2, count=1000)
    assert trials.trials[0].estimate.mean < 2.5 * trials.floor.median < 0.3  # of the lowest x, both are larger


@pytest.mark.parametrize("seed", [2**32, 2**63 - 1])
def test_a_seed_that_scikit_learn_does_not_take_is_a_seed(perfect, seed):
    assert evaluate(perfect, 50, perfect.sampling.override(seed=seed)).protocol["seed"] == seed
    rows = table(60, 0)
    assert table_report(rows, rows.flip(0), rows, SCHEMA, seed=seed).protocol["seed"] == seed


def test_a_training_s_report_holds_samples_to_the_rows_of_its_floor(perfect):
    """Held-out points are one apart from those trained on, and so is the floor."""
    ours, theirs = perfect.dataset("train"), perfect.dataset("test")
    found = reporter_of(ours, replace(theirs, x=theirs.x + 1), seed=2, model=MODEL)(perfect).numbers
    assert found["floor"] == pytest.approx(1, rel=0.05)
    assert found["sliced Wasserstein"] == pytest.approx(found["floor"], rel=0.05)


def test_a_table_s_training_report_does_too():
    ours, theirs = (Dataset(table(3000, seed), kind="table", schema=SCHEMA) for seed in (0, 1))
    theirs = replace(theirs, x=in_order(theirs.x) + torch.tensor([1.0, 0, 0], dtype=torch.float64))
    fresh = SimpleNamespace(sample=lambda count, asked, seed: table(count, 2))
    found = reporter_of(ours, theirs, seed=2, model=MODEL)(fresh).numbers
    assert found["distance by columns"] == pytest.approx(found["floor"], rel=0.25)
