"""What a training says of itself: held-out losses that belong to the model alone, a verdict, and an early end."""

import re

import pytest
import torch
from logged import read_log

from tests.runs.test_resume import BASE, one_thread  # noqa: F401  # a fixture
from undiffuse.core.errors import UserError
from undiffuse.data.ready import Digits
from undiffuse.net import MLP
from undiffuse.run.folder import load, read_recipe
from undiffuse.train import recorder
from undiffuse.train.following import Following
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state
from undiffuse.train.verdict import verdict, waited


def reports(held_out, trained=None, novelty=1.0):
    return [
        {"step": 100 * (k + 1), "held-out loss": loss, "loss of training rows": other, "novelty": novelty}
        for k, (loss, other) in enumerate(zip(held_out, trained or held_out, strict=True))
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ""),
        ([{"step": 50, "loss": 1.0}], ""),
        (reports([1.0]), "still learning"),
        (reports([1.0, 0.8, 0.7, 0.6, 0.5, 0.4]), "still learning"),
        (reports([1.0, 0.5, 0.4, 0.4, 0.4, 0.4]), "converged"),
        (reports([1.0, 0.5, 0.5, 0.55, 0.6, 0.7], [1.0, 0.5, 0.4, 0.3, 0.2, 0.1]), "overfitting: .* at step 200"),
        (reports([1.0, 0.5, 0.5, 0.55, 0.6, 0.7]), "converged"),  # both rose
        (reports([1.0, 0.5, 0.4], novelty=0.3), "memorising: .* 0.30 times as far .*"),
        (reports([1.0, 0.8, None, 0.5]), "still learning"),
    ],
)
def test_the_verdict(lines, said):
    assert re.fullmatch(said, verdict(lines))


def test_how_long_nothing_was_better():
    assert [waited(reports(losses)) for losses in ([], [1.0], [1.0, 0.5], [0.5, 1.0, 0.5], [3.0, 1.0, 2.0, 4.0])] == [
        *(0, 0, 0, 2, 2)
    ]


def test_the_same_rows_with_the_same_noise_at_every_report(tmp_path):
    """Where nothing is learned, the held-out losses of all reports are the same; the training's are not."""
    recipe = BASE.changed(data=Digits(), net=MLP(width=16, depth=1, waves=0), lr=1e-30, steps=60, report_every=20)
    log = read_log(train(recipe, tmp_path / "run", quiet=True).folder)
    for name in ("held-out loss", "loss of training rows", "held-out error at noise 0.5", "novelty"):
        values = [line[name] for line in log if name in line]
        assert len(values) == 3 and len(set(values)) == 1, name


def test_an_early_end_is_the_end_and_keeps_the_best(tmp_path, monkeypatch):
    """Held-out losses that are least at the second report: the training ends two reports later, with its model."""
    patient = BASE.changed(patience=2, report_every=20, save_every=130, decay="constant")
    losses = {20: 1.0, 40: 0.5, 60: 0.6, 80: 0.7, 100: 0.1}
    known = recorder.waited

    def made_up(lines):
        told = [line | {"held-out loss": losses[line["step"]]} for line in lines if "held-out loss" in line]
        return known(told)

    monkeypatch.setattr(recorder, "waited", made_up)
    run = train(patient, tmp_path / "run", quiet=True)
    assert load_state(run.folder / "state").step == 80 == read_recipe(run.folder).training.steps
    assert run.step == 40
    asked = train(patient.changed(patience=None, steps=40), tmp_path / "asked", quiet=True)
    for one, other in zip(run.denoiser.parameters(), asked.denoiser.parameters(), strict=True):
        assert torch.equal(one, other)
    assert resume(run.folder, quiet=True).step == 40  # it is done


def test_patience_that_is_none():
    with pytest.raises(UserError, match="patience must be at least 1, or none, not 0"):
        BASE.changed(patience=0)


def test_the_preview_is_the_latest_picture(tmp_path):
    run = train(BASE.changed(steps=60), tmp_path / "run", quiet=True, following=Following(tmp_path / "now.png"))
    assert (tmp_path / "now.png").read_bytes() == (run.folder / "pictures" / "000000060.png").read_bytes()
    assert load(run.folder).step == 60
    for name in ("now.txt", "nowhere/now.png"):
        with pytest.raises(UserError, match=r"a preview is a \.png, in a folder that is there"):
            Following(tmp_path / name)
