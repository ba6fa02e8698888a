"""Runs as ONNX graphs: the graphs answer as the run does, for any count of rows; what is no graph is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.export import export
from undiffuse.export.onnx import FAMILIES, answers, schedule_facts
from undiffuse.process import EDM, VP, Cosine, Flow, Linear, Shifted, SubVP
from undiffuse.recipes import RECIPES
from undiffuse.recipes.toys import toy
from undiffuse.run.folder import load
from undiffuse.train.loop import train

pytest.importorskip("onnxscript")


def test_tokens_are_a_graph_of_logits(tmp_path):
    recipe = RECIPES["heartbeat-masked"]().changed(steps=2, report_every=2, width=8, heads=2, depth=1)
    run = train(recipe, tmp_path / "run", quiet=True)
    assert "differs from torch's by" in export(run, "onnx", tmp_path / "out")
    facts = json.loads((tmp_path / "out/model.json").read_text())
    process = run.denoiser.process
    assert facts["alphabet"] == list(run.codec.alphabet.symbols)
    x_t = torch.randint(process.states, (7, *run.shape))
    t = 0.3
    log_snr = torch.full((7,), process.schedule.at(t).log_snr, dtype=torch.float64)
    with torch.no_grad():
        expected = run.denoiser(x_t, t)
    torch.testing.assert_close(answers(tmp_path / "out/model.onnx", {"x": x_t, "log_snr": log_snr}), expected)


@pytest.mark.parametrize(
    "schedule", [Cosine(), VP(), EDM(), Flow(), SubVP(), Linear(count=50), Shifted(Flow(), 3.0)], ids=repr
)
def test_a_schedule_is_its_family_and_its_angles(schedule):
    """The angles give alpha and sigma back at every entry, by the family alone."""
    facts = schedule_facts(schedule)
    angles = torch.tensor(facts["angles"], dtype=torch.float64)
    alpha, sigma = schedule(torch.linspace(0, 1, len(angles), dtype=torch.float64))
    spread = {
        "variance-preserving": (alpha**2 + sigma**2).sqrt(),
        "variance-exploding": alpha,
        "straight": alpha + sigma,
        "sub-variance-preserving": sigma + alpha**2,
    }
    assert set(spread) == set(FAMILIES)
    torch.testing.assert_close(spread[facts["family"]], torch.ones_like(alpha))
    torch.testing.assert_close(angles.tan()[1:-1], (sigma / alpha)[1:-1])
    assert facts["discrete"] == (schedule.steps is not None)


def test_what_is_no_graph_is_refused_and_nothing_is_left(tmp_path):
    run = train(toy("moons").changed(steps=2, report_every=2, width=8), tmp_path / "run", quiet=True)
    classifier = replace(run, denoiser=torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="its model is a gaussian-diffusion, which is not one graph"):
        export(classifier, "onnx", tmp_path / "out")
    with pytest.raises(UserError, match="exists already"):
        export(run, "onnx", tmp_path / "run")
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["run"]
    assert load(tmp_path / "run").step == 2
