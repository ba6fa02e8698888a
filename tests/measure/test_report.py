"""The two-sample test, the judge, floors, error bars, and the report that joins them."""

import io
import json
import math

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from undiffuse.core.errors import UserError
from undiffuse.measure import (
    MEASURES,
    Judge,
    estimate,
    floor,
    over_seeds,
    report,
    sliced_wasserstein,
    two_sample_test,
)
from undiffuse.measure.floor import halves
from undiffuse.measure.report import Row
from undiffuse.measure.two_sample import auc_error


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Two-sample test


def test_equal_laws_are_told_apart_half_the_time():
    found = two_sample_test(normal(1000, 2), normal(1000, 2, seed=1))
    assert abs(found.accuracy - 0.5) < 4 * found.accuracy_error
    assert abs(found.auc - 0.5) < 4 * found.auc_error


def test_far_laws_are_told_apart_always():
    found = two_sample_test(normal(300, 1, 3, 3), normal(300, 1, 3, 3, seed=1) + 10)
    assert found.accuracy > 0.99
    assert found.auc > 0.99


def test_the_best_classifier_reaches_the_bayes_accuracy():
    """N(0, 1) against N(2, 1): Phi(1) right; the AUC is Phi(2 / sqrt 2)."""
    found = two_sample_test(normal(4000, 1), 2 + normal(4000, 1, seed=1), classifier=LogisticRegression())
    normal_law = torch.distributions.Normal(0.0, 1.0)
    assert abs(found.accuracy - float(normal_law.cdf(torch.tensor(1.0)))) < 4 * found.accuracy_error
    assert abs(found.auc - float(normal_law.cdf(torch.tensor(math.sqrt(2))))) < 4 * found.auc_error


def test_chance_is_a_half_at_unequal_counts_and_the_seed_decides():
    x, y = normal(900, 2), normal(150, 2, seed=1)
    found = two_sample_test(x, y, seed=1)
    assert abs(found.accuracy - 0.5) < 4 * found.accuracy_error
    assert found.accuracy_error == pytest.approx(0.5 / math.sqrt(300), rel=0.05)
    assert found == two_sample_test(x, y, seed=1)
    assert found != two_sample_test(x, y, seed=2)


def test_the_error_of_an_auc_is_that_of_mann_whitney_at_chance():
    """Var = (n + m + 1) / (12 n m) when the laws agree; Hanley and McNeil's is 1/n (2/3 - 1/2) + ..., the same."""
    n = 400
    assert auc_error(0.5, n) == pytest.approx(math.sqrt((2 * n + 1) / (12 * n * n)), rel=1e-9)
    assert auc_error(1.0, n) == 0


def test_too_few_rows_for_the_folds():
    with pytest.raises(UserError, match="4 samples: this measure needs at least 5"):
        two_sample_test(normal(4, 2), normal(9, 2))
    with pytest.raises(UserError, match="folds must be at least 2"):
        two_sample_test(normal(9, 2), normal(9, 2), folds=1)


# Judge


@pytest.fixture(scope="module")
def digits():
    bundle = load_digits()
    order = torch.randperm(len(bundle.target), generator=torch.Generator().manual_seed(0))
    pictures = torch.tensor(bundle.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(bundle.target)[order]
    return pictures[:1437], labels[:1437], pictures[1437:], labels[1437:]


@pytest.fixture(scope="module")
def judge(digits):
    return Judge.train(*digits, steps=250)


def test_a_judge_of_digits_is_right_on_held_out_digits(judge, digits):
    _, _, pictures, labels = digits
    assert judge.accuracy >= 0.97
    assert judge.accuracy == float((judge.predict(pictures) == labels).double().mean())
    assert judge.predict(torch.zeros(3, 1, 8, 8)).shape == (3,)


def test_a_stored_judge_is_the_same_judge(judge, digits, tmp_path):
    save_file(judge.state(), tmp_path / "judge.safetensors")
    again = Judge.from_state(load_file(tmp_path / "judge.safetensors"))
    assert torch.equal(again.features(digits[2]), judge.features(digits[2]))
    assert again.accuracy == judge.accuracy
    assert (again.mean, again.std, again.shape) == (judge.mean, judge.std, judge.shape)


def test_a_judge_of_points_keeps_the_labels_given_and_the_seed():
    x = torch.cat([normal(300, 2) - 3, normal(300, 2, seed=1) + 3])
    labels = torch.tensor([7, -2]).repeat_interleave(300)
    before = torch.random.get_rng_state()
    judge, again = (Judge.train(x[::2], labels[::2], x[1::2], labels[1::2], steps=60, seed=5) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert judge.accuracy > 0.99
    assert judge.predict(torch.tensor([[-3.0, -3.0], [3.0, 3.0]])).tolist() == [7, -2]
    assert judge.features(x).shape == (600, 64)
    assert torch.equal(judge.features(x), again.features(x))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 9), (2, 28, 28), (4,), (3, 2)], ids=str)
def test_a_judge_takes_any_shape(shape):
    x, labels = normal(12, *shape), torch.arange(12) % 3
    judge = Judge.train(x, labels, x, labels, steps=2, batch=4)
    assert judge.features(x).shape == (12, 64)


def test_a_judge_speaks_of_bad_input(judge):
    x, labels = normal(6, 2), torch.arange(6)
    with pytest.raises(UserError, match=r"6 rows need labels of shape \(6,\), not \(5,\)"):
        Judge.train(x, labels[:5], x, labels)
    with pytest.raises(UserError, match="two different labels; all are 0"):
        Judge.train(x, 0 * labels, x, labels)
    with pytest.raises(UserError, match=r"shape \(1, 8, 8\), not \(2,\)"):
        judge.predict(x)


# Floors and error bars


def test_the_floor_is_real_data_against_real_data_of_the_same_count():
    def counts(x, y):
        assert len(x) == len(y) == 40
        return float(len(set(x[:, 0].tolist()) & set(y[:, 0].tolist())))

    assert floor(counts, torch.arange(100.0)[:, None], 40) == (0.0, 0.0)  # disjoint, each time
    with pytest.raises(UserError, match="two disjoint draws of 51 rows need 102; there are 100"):
        floor(counts, torch.arange(100.0)[:, None], 51)


def test_the_floor_falls_with_the_count():
    few, many = (floor(sliced_wasserstein, normal(4000, 2), count) for count in (50, 2000))
    assert few.median > 3 * many.median
    assert 0 < few.spread < few.median
    assert math.isnan(floor(sliced_wasserstein, normal(40, 2), 20, draws=1).spread)


def test_each_draw_of_the_floor_is_another_and_the_seed_repeats_them():
    real = normal(100, 1)
    first, again = (
        [sliced_wasserstein(*pair) for pair in halves(real, 20, 4, torch.Generator().manual_seed(1))] for _ in range(2)
    )
    assert len(set(first)) == 4
    assert first == again


def test_error_bars_are_the_standard_error_of_the_mean():
    assert over_seeds(lambda seed: [1.0, 3.0, 8.0][seed], range(3)) == (4.0, pytest.approx(math.sqrt(13 / 3)), 3)
    assert str(estimate([1.0, 3.0])) == "2 ± 1"
    assert math.isnan(estimate([2.0]).error)
    assert str(estimate([2.0])) == "2"


# Report


def test_perfect_samples_are_at_the_floor_and_bad_ones_are_not():
    held_out, train = normal(800, 2, seed=1), normal(800, 2, seed=2)
    good = report(normal(800, 2), held_out, train=train)
    bad = report(1 + 0.3 * normal(800, 2), held_out, train=train)
    for row in good.rows:
        if row.name != "copied":  # which is 0
            assert 0.5 < row.ratio < 2, row
    for name in ("sliced Wasserstein", "energy distance", "MMD", "Frechet distance"):
        assert bad[name].ratio > 5
    assert bad["two-sample accuracy"].value > 0.8
    assert bad["recall"].ratio < 0.8
    assert bad["coverage"].ratio < 0.8


def test_copies_look_perfect_but_for_memorisation():
    held_out, train = normal(400, 2, seed=1), normal(400, 2, seed=2)
    found = report(train, held_out, train=train, measures=MEASURES[:1])
    assert found["sliced Wasserstein"].ratio < 2
    assert found["copied"].value == 1
    assert found["nearest training example"].ratio == 0


def test_every_comparison_is_of_the_count_that_the_protocol_states():
    seen = set()

    def features(x):
        seen.add(len(x))
        return x

    one = report(normal(500, 2), normal(101, 2), features=features, measures=MEASURES[:1])
    assert one.protocol["samples"] == one.protocol["held-out rows"] == 50  # two disjoint draws of 101
    assert seen == {50}
    with_train = report(normal(500, 2), normal(101, 2), train=normal(300, 2), measures=MEASURES[:1])
    assert with_train.protocol["samples"] == 101
    assert report(normal(30, 2), normal(101, 2), at_most=20, measures=MEASURES[:1]).protocol["samples"] == 20


def test_the_floor_is_of_training_rows_in_the_samples_place_and_of_no_more_than_it_needs():
    held_out, train = torch.arange(100.0)[:, None], torch.arange(100, 1000)[:, None]
    seen = []

    def features(x):
        seen.append(x[:, 0].tolist())
        return x

    report(normal(20, 1), held_out, train=train, features=features, measures=MEASURES[:1], draws=3)
    assert [len(set(rows)) for rows in seen] == [20] * 5  # held-out rows, three draws, samples
    assert max(seen[0]) < 100 and all(min(rows) >= 100 for rows in seen[1:4])
    assert seen[1] != seen[2] != seen[3]


def test_the_report_of_digits_knows_its_labels(judge, digits):
    train, labels, held_out, _ = digits
    asked = labels[:200].clone()
    asked[:20] = (asked[:20] + 1) % 10
    found = report(train[:200], held_out, train=train, judge=judge, labels=asked, measures=MEASURES[-1:])
    assert found["label accuracy"].value == pytest.approx(0.9, abs=0.02)
    assert found["label accuracy"].floor == judge.accuracy
    assert found.protocol["features"] == "the judge's"
    with pytest.raises(UserError, match=r"200 samples need labels of shape \(200,\), not \(9,\)"):
        report(train[:200], held_out, judge=judge, labels=labels[:9], measures=())


def test_the_report_is_one_json_object_and_a_table():
    found = report(normal(60, 2), normal(120, 2, seed=1), draws=1)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [row["name"] for row in plain["measures"]] == [row.name for row in found.rows]
    assert plain["measures"][0]["value"] == found["sliced Wasserstein"].value
    assert plain["measures"][0]["ratio"] == found["sliced Wasserstein"].ratio
    assert plain["measures"][0]["spread"] is None
    assert plain["protocol"]["seed"] == 0
    screen = io.StringIO()
    Console(file=screen, width=80).print(found.table())
    for row in found.rows:
        assert row.name in screen.getvalue()
        assert row.meaning.split()[-1] in screen.getvalue()


def test_the_report_repeats_with_its_seed():
    x, y = normal(100, 3), normal(200, 3, seed=1)
    first, again, other = (report(x, y, seed=seed, measures=MEASURES[:4]) for seed in (3, 3, 4))
    assert first.to_json() == again.to_json()
    assert first.rows != other.rows


def test_broken_samples_stop_the_report_with_their_number():
    x = normal(64, 2)
    x[:12] = torch.nan
    with pytest.raises(UserError, match="12 of 64 samples hold NaN"):
        report(x, normal(64, 2))


@pytest.mark.parametrize("count", [6, 9, 30])
def test_few_rows_are_measured_too(count):
    """A folder of a few pictures has a handful of rows held out."""
    generator = torch.Generator().manual_seed(0)
    samples, held_out, train = (torch.rand(n, 3, 4, 4, generator=generator) for n in (100, count, 60))
    found = report(samples, held_out, train=train, at_most=count)
    assert found["two-sample accuracy"].value >= 0 and found["sliced Wasserstein"].floor > 0


def test_kid_is_of_features_and_not_of_raw_numbers():
    """Of raw numbers a cubic kernel says -1e9 where they are far from zero."""
    samples, held_out = (1000 * normal(100, 2, seed=seed) for seed in (0, 1))
    assert "KID" not in [row.name for row in report(samples, held_out).rows]
    assert abs(report(samples, held_out, features=lambda x: x / 1000)["KID"].value) < 1


def test_what_is_zero_for_real_data_has_no_ratio():
    assert math.isnan(Row("KID", 1.72, -0.301, 0.1, "lower", "").ratio)
