"""A run's judge is trained once; distances on features that somebody else brings; what each label looks like."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.data.readers.digits import digits
from undiffuse.evaluate.judged import FILE, judge_of
from undiffuse.kind import evaluate
from undiffuse.measure.inception import extractor_features, inception_features
from undiffuse.measure.inception_score import inception_score
from undiffuse.measure.judge import Judge
from undiffuse.measure.kid import kid
from undiffuse.measure.report import report
from undiffuse.net import UNet
from undiffuse.recipes import RECIPES
from undiffuse.train.loop import train


@pytest.fixture
def run(tmp_path):
    recipe = RECIPES["digits"]().changed(net=UNet(width=8, embedding=8), steps=2, batch=8, sampling_steps=2)
    return train(recipe, tmp_path / "run", quiet=True)


def test_a_run_s_judge_is_trained_once_and_again_for_other_data(run, monkeypatch):
    trained, before = [], Judge.train.__func__

    def counted(cls, *data):
        trained.append(len(data[0]))
        return before(cls, *data, steps=3)

    monkeypatch.setattr(Judge, "train", classmethod(counted))
    train_part, test_part = run.dataset("train"), run.dataset("test")
    first = judge_of(run, train_part, test_part)
    again = judge_of(run, train_part, test_part)
    assert len(trained) == 1 and (run.folder / FILE).is_file() and again.accuracy == first.accuracy
    assert torch.equal(again.features(test_part.x.float()), first.features(test_part.x.float()))
    judge_of(run, train_part.take(torch.arange(100)), test_part)
    assert trained == [len(train_part), 100]
    judge_of(
        run,
        train_part.take(torch.arange(100)),
        replace(test_part, conditions=test_part.conditions[torch.arange(len(test_part)).flip(0)]),
    )
    assert len(trained) == 3
    (run.folder / FILE).write_bytes(b"damaged")
    judge_of(run, train_part, test_part)
    assert len(trained) == 4


def test_every_score_says_how_it_was_made(run, monkeypatch):
    before = Judge.train.__func__
    monkeypatch.setattr(Judge, "train", classmethod(lambda cls, *data: before(cls, *data, steps=3)))
    found = evaluate(run, 20, run.sampling.override("heun", 3, guidance=1.5)).to_json()
    said = found["protocol"]
    assert (said["sampler"], said["steps"], said["network evaluations"], said["guidance"]) == ("heun", 3, 5, 1.5)
    assert (
        said["samples"] == said["samples read and checked"] == 20
        and said["seed"] == 0
        and said["judge's accuracy"] is not None
    )
    assert {row["name"] for row in found["measures"]} >= {"KID", "Frechet distance", "label accuracy", "coverage"}
    assert all(row["floor"] is not None for row in found["measures"])
    assert sum(asked["count"] for asked in found["labels"]) == 20


def test_labels_are_counted_one_by_one():
    data = digits("test")
    judge = Judge.train(data.x, data.labels, data.x, data.labels, steps=150)
    asked = data.labels.clone()
    asked[data.labels == 3] = 5  # threes, though fives were asked for
    x, names = data.x.float(), data.label_names
    found = report(x, x, labels=asked, judge=judge, held_out_labels=data.labels, label_names=names)
    by_label = {row.label: row for row in found.labels}
    fives, threes = (data.labels == 5), (data.labels == 3)
    read = judge.predict(data.x.float())
    assert by_label["5"].count == int((fives | threes).sum()) and "3" not in by_label
    assert by_label["5"].read == pytest.approx(float((read[fives | threes] == 5).double().mean()))
    assert by_label["5"].real == pytest.approx(float((read[fives] == 5).double().mean()))


def test_the_inception_score_is_the_number_of_labels_that_are_clearly_seen():
    clear = torch.eye(5).repeat(20, 1)
    assert inception_score(clear) == pytest.approx(5)
    assert inception_score(clear[:, [0, 0, 0, 0, 0]] * 0 + 0.2) == pytest.approx(1)
    assert inception_score(torch.eye(5)[torch.zeros(9, dtype=torch.long)]) == pytest.approx(1)
    half = 0.5 * clear + 0.1
    expected = math.exp(0.6 * math.log(3) + 0.4 * math.log(0.5))
    assert inception_score(half) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UserError, match="probabilities"):
        inception_score(torch.ones(3, 2))


def test_kid_is_zero_on_average_for_one_law_and_the_kernel_s_distance_for_two():
    torch.manual_seed(0)
    same = torch.tensor([kid(torch.randn(40, 2), torch.randn(40, 2)) for _ in range(400)])
    assert abs(float(same.mean())) < 4 * float(same.std()) / 20 and float(same.min()) < 0
    shift = torch.tensor([1.0, 0.0])  # E (x.y/2 + 1)^3 by hand, for independent standard normals shifted by m and n:
    found = torch.tensor([kid(torch.randn(400, 2) + shift, torch.randn(400, 2)) for _ in range(60)])

    def expected(m: float, n: float) -> float:  # u = x.y/2: E u, E u^2, E u^3 over both
        x = torch.randn(2_000_000, 2) + torch.tensor([m, 0.0])
        y = torch.randn(2_000_000, 2) + torch.tensor([n, 0.0])
        return float((((x * y).sum(1) / 2 + 1) ** 3).double().mean())

    truth = expected(1, 1) + expected(0, 0) - 2 * expected(1, 0)
    assert float(found.mean()) == pytest.approx(truth, abs=0.1)


def test_features_of_torch_fidelity_s_kind_are_asked_for_bytes_of_three_channels():
    class Extractor(torch.nn.Module):
        def forward(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)),)

    features = extractor_features(Extractor())
    x = torch.rand(70, 1, 5, 4) * 255
    torch.testing.assert_close(features(x), x.round().mean((2, 3)).expand(-1, 3))
    with pytest.raises(UserError, match="1 or 3 channels"):
        features(torch.zeros(2, 2, 4, 4))


def test_what_is_missing_for_inception_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"pip install 'undiffuse\[fidelity\]'"):
        inception_features()
