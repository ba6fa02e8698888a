"""What a comparison says, on trials made by hand, and what it plans for every sampler."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undiffuse.core.errors import UserError
from undiffuse.evaluate.compare import Comparison, Cost, Trial, plan
from undiffuse.kind import compare
from undiffuse.measure.floor import Floor
from undiffuse.run.folder import load
from undiffuse.sampling.samplers import SAMPLERS


def comparison(**curves):
    """Samplers as {evaluations: mean}, three seeds that agree but for a shift which they share."""
    trials = [
        Trial(name, n, n, n, tuple(mean + shift for shift in (-0.01, 0.0, 0.01)))
        for name, curve in curves.items()
        for n, mean in curve.items()
    ]
    return Comparison(tuple(trials), "sliced Wasserstein", Floor(0.02, 0.001), {"seeds": 3})


def test_the_largest_saving_is_told():
    (answer,) = comparison(ddim={5: 0.4, 10: 0.2, 20: 0.1}, fast={5: 0.15, 10: 0.09, 20: 0.08}).answers()
    assert answer.startswith("fast at 5 evaluations is at least as good as ddim at 10 (0.15 ")


def test_a_saving_of_the_first_is_told_too():
    (answer,) = comparison(ddim={5: 0.1, 10: 0.05}, slow={5: 0.4, 10: 0.1}).answers()
    assert answer.startswith("ddim at 5 evaluations is at least as good as slow at 10 ")


def test_where_all_are_equally_good_nothing_is_saved():
    """Curves that are flat say nothing of a sampler: the cheap trial of either is as good."""
    assert comparison(ddim={5: 0.1, 50: 0.1}, other={5: 0.1, 50: 0.1}).answers() == [
        "other and ddim cannot be told apart at any of these"
    ]


def test_better_without_a_saving_is_told_at_equal_cost():
    (answer,) = comparison(ddim={5: 0.4, 10: 0.2, 20: 0.1}, fast={5: 0.3, 10: 0.15, 20: 0.11}).answers()
    assert answer == ("fast is better than ddim at 5 and 10 evaluations, ddim is better than fast at 20 evaluations")


def test_numbers_survive_json_and_csv():
    found = comparison(ddim={5: 0.4, 10: 0.2}, heun={5: 0.5})
    back = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [trial["mean"] for trial in back["trials"]] == pytest.approx([0.4, 0.2, 0.5])
    assert back["floor"]["median"] == 0.02
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [(row["sampler"], int(row["evaluations"])) for row in rows] == [("ddim", 5), ("ddim", 10), ("heun", 5)]
    assert float(rows[0]["error"]) == pytest.approx(0.01 / 3**0.5)


def test_one_seed_has_no_error_and_says_so():
    lone = Comparison((Trial("ddim", 5, 5, 5, (0.4,)),), "sliced Wasserstein", Floor(0.02, 0.001), {})
    assert lone.to_json()["trials"][0]["error"] is None
    assert "±" not in lone.table().columns[1]._cells[0]


@given(st.lists(st.sampled_from(sorted(SAMPLERS)), min_size=1), st.lists(st.integers(1, 300), min_size=1))
def test_a_plan_spends_all_it_may_and_never_more(samplers, evaluations):
    try:
        plans, notes = plan({name: Cost(SAMPLERS[name].evaluations) for name in samplers}, evaluations)
    except UserError:
        plans, notes = [], None
        assert all(SAMPLERS[name].evaluations(1) > max(evaluations) for name in samplers)
    for sampler, asked, steps, spent in plans:
        cost = SAMPLERS[sampler].evaluations
        assert spent == cost(steps) <= asked < cost(steps + 1)
    if notes is not None:
        assert len(plans) + len(notes) == len(set(samplers)) * len(set(evaluations))


def test_the_same_seeds_give_the_same_comparison(labelled_run):
    run = load(labelled_run)
    first, again = (compare(run, ["ddim", "ddpm"], [2, 3], seeds=2, count=30) for _ in range(2))
    assert first == again
    assert len({value for trial in first.trials for value in trial.values}) == 8


def test_pictures_with_labels_are_seen_through_a_classifier(pictures_run, monkeypatch):
    from undiffuse.measure.judge import Judge

    train = Judge.train.__func__
    monkeypatch.setattr(Judge, "train", classmethod(lambda cls, *data: train(cls, *data, steps=5)))
    found = compare(load(pictures_run), ["ddim"], [2], seeds=1, count=20)
    assert found.measure == "Frechet distance"
    assert "classifier" in found.protocol["features"]
