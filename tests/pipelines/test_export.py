"""A run as a pipeline of diffusers: the same network, which comes back as the same run."""

import pytest
import torch

from undiffuse.core.errors import UserError
from undiffuse.denoiser.prediction import Eps
from undiffuse.export import TARGETS, export
from undiffuse.net import MLP, UNet
from undiffuse.process import Flow
from undiffuse.recipes.digits import digits
from undiffuse.run.folder import load
from undiffuse.train.loop import train

diffusers = pytest.importorskip("diffusers")

DENSE = UNet(width=16, multiples=(1, 2), attention=(1,), embedding=32, groups=4, heads=2, dense=True)


def trained(folder, **changes):
    recipe = digits().changed(steps=2, net=DENSE, batch=16, report_every=2, **changes)
    run = train(recipe, folder, quiet=True)
    with torch.no_grad():
        for weight in run.denoiser.parameters():  # what is zero at first says nothing
            weight.add_(0.05 * torch.randn_like(weight))
    return run


def test_it_comes_back_as_the_same_run(tmp_path):
    run = trained(tmp_path / "run")
    said = export(run, "diffusers", tmp_path / "out")
    assert "answers as the run does" in said
    back = load(tmp_path / "out")
    assert back.specifications["label"].names == run.specifications["label"].names
    how = run.sampling.override("ddim", 10, "trailing", guidance=2.0)
    mine, theirs = (one.sample(4, label=["3", "5"], sampling=how).float() for one in (run, back))
    assert (mine - theirs).abs().max() <= 1
    assert (run.sample(4, label="none", sampling=how).float() - theirs).abs().max() > 1


def test_diffusers_reads_it(tmp_path):
    """The network answers as ours at a timestep, told its number."""
    run = trained(tmp_path / "run", prediction=Eps())
    export(run, "diffusers", tmp_path / "out")
    pipeline = diffusers.DDIMPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    alpha = pipeline.scheduler.alphas_cumprod.double() ** 0.5
    ours = run.denoiser.process.schedule.at(torch.tensor([0.001, 0.5, 0.9], dtype=torch.float64)).alpha
    assert torch.allclose(alpha[[0, 499, 899]], ours, rtol=1e-4)
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        theirs = pipeline.unet(x, 499, class_labels=torch.tensor([3, 10])).sample
        mine = run.denoiser.answer(x, 0.5, run.conditions(2, [{"label": "3"}, {"label": "none"}]))
    assert torch.allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"net": MLP(width=8, depth=1)}, "its network, only for a U-Net"),
        ({"net": UNet(width=8)}, "one skip a level"),
        ({"net": UNet(width=16, multiples=(1, 2, 2), blocks=(1, 1, 2), dense=True)}, "different numbers of blocks"),
        ({"net": UNet(width=8, groups=4, dense=True)}, "normalisations of different numbers of groups, 2, 4"),
        ({"schedule": Flow()}, "its schedule, only for variance preserving"),
    ],
)
def test_what_cannot_be_said_is_named_and_nothing_is_written(tmp_path, changes, said):
    recipe = digits().changed(steps=1, batch=8, report_every=1, **{"net": DENSE, **changes})
    run = train(recipe, tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match=said):
        export(run, "diffusers", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_is_overwritten_and_a_target_is_known(tmp_path):
    run = trained(tmp_path / "run")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        export(run, "diffusers", tmp_path / "out")
    with pytest.raises(UserError, match=f"unknown target 'onx'|known: {', '.join(TARGETS)}"):
        export(run, "onx", tmp_path / "new")
