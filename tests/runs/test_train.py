"""Every recipe trains, on every shape it says it takes; what cannot go on stops with the reason, and loses nothing."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from logged import read_log
from PIL import Image
from small_data import small_data

from undiffuse.codec import MLPVAE, VQVAE, ConvVAE
from undiffuse.core.configuration import classes, hints
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.ready import Digits, Shapes, Toy
from undiffuse.denoiser.prediction import EDMPrediction, Eps, Velocity
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.time import Uniform
from undiffuse.loss.variational import Hybrid, VariationalBound
from undiffuse.net import MLP, SignalUNet, SpaceToDepth, UNet
from undiffuse.net.embedded import Embedded
from undiffuse.net.token_transformer import TokenTransformer
from undiffuse.process import EDM, Flow, Linear, PoissonNoise
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Below, Recipe
from undiffuse.recipe.training import Training
from undiffuse.recipes import RECIPES, own_data
from undiffuse.run.folder import load
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.log import Log
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state
from undiffuse.train.trainer import Trainer

DTYPES = {"series": torch.float32, "pictures": torch.uint8, "points": torch.float32, "text": torch.int32}
MLP_TINY, UNET_TINY = MLP(width=16, depth=1, waves=8, embedding=8), UNet(width=8, multiples=(1,), embedding=8)
BASE = Recipe(
    Toy("swiss-roll", 100),
    GaussianDiffusion(MLP_TINY),
    training=Training(steps=3, batch=8, warmup=1, save_every=2, report_every=3),
    sampling=Sampling(steps=2),
)


def tiny(recipe: Recipe) -> Recipe:
    """The same recipe, over before it has learnt anything."""
    data = replace(recipe.data, count=100) if isinstance(recipe.data, Toy | Shapes) else recipe.data
    codec = recipe.codec
    if isinstance(codec, MLPVAE | ConvVAE | VQVAE):
        codec = replace(codec, fit=replace(codec.fit, steps=2, batch=8))
        if isinstance(codec, ConvVAE | VQVAE):  # every picture is encoded once
            codec = replace(codec, width=8)
    batch = max(8, getattr(recipe.model.loss, "group", 8))  # of which some losses take groups
    short = recipe.changed(steps=3, batch=batch, warmup=1, report_every=3, sampling_steps=2)
    stages = tuple(replace(stage, recipe=tiny(stage.recipe)) for stage in recipe.stages)
    return replace(short, stages=stages).changed(data=data, net=tiny_net(recipe.model.net), codec=codec)


def tiny_net(net):
    match net:
        case MLP():
            return MLP_TINY
        case SpaceToDepth() | Embedded() | SignalUNet():
            return replace(net, inner=tiny_net(net.inner))
        case TokenTransformer():
            return replace(net, width=8, depth=1, heads=2)
        case _:
            return replace(net, width=8, embedding=8)


def assert_samples(run, count=5):
    x = run.sample(count, seed=1)
    assert x.shape == (count, *run.shape) and x.dtype == DTYPES[run.kind]
    assert x.float().isfinite().all()


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory):
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"table"}))  # which has no data of its own: see test_table_run
def test_every_recipe_trains(name, data_sets, tmp_path, monkeypatch):
    monkeypatch.setenv("UNDIFFUSE_DATA", str(data_sets))
    recipe = tiny(RECIPES[name]())
    run = train(recipe, tmp_path / "run", quiet=True)
    assert run.step == 3 and run.recipe == recipe and load(run.folder).recipe == recipe
    data = run.dataset()
    assert run.shape == data.shape
    of_stages = {stage.condition for stage in recipe.stages if isinstance(stage, Below)}
    assert run.specifications.keys() - of_stages == data.specifications.keys() - of_stages
    expected = {"recipe.yaml", "model.safetensors", "state", "log.jsonl", "tensorboard"}
    expected |= {"stages"} if recipe.stages else set()
    if isinstance(recipe.codec, MLPVAE | ConvVAE | VQVAE):
        expected |= {"codec"}
    if not recipe.samples:
        assert set(os.listdir(run.folder)) == expected
        return
    assert_samples(run)
    if run.kind == "text":
        assert set(os.listdir(run.folder)) == expected
        return
    assert set(os.listdir(run.folder)) == expected | {"pictures"}
    Image.open(run.folder / "pictures" / "000000003.png").verify()


@pytest.mark.parametrize("loss", sorted(classes(hints(GaussianDiffusion)["loss"])))
def test_a_learned_variance_is_trained_or_refused(loss):
    """What the network says of it has a gradient: no loss leaves it as it was drawn."""
    recipe = BASE.changed(learned_variance=True, loss=classes(hints(GaussianDiffusion)["loss"])[loss]())
    try:
        denoiser = recipe.denoiser((2,), {})
    except UserError as error:
        assert "trains no variance: choose --loss hybrid" in str(error)
        return
    said: list[torch.Tensor] = []
    denoiser.net.register_forward_hook(lambda net, given, y: (said.append(y), y.retain_grad())[1])
    recipe.model.loss(denoiser, torch.randn(64, 2), Stream(torch.Generator().manual_seed(0))).mean().backward()
    assert said[0].grad is not None and said[0].grad[:, 2:].abs().mean() > 0


def test_a_learned_variance_has_a_loss_that_trains_it():
    assert BASE.changed(learned_variance=True).model.loss == Hybrid()
    with pytest.raises(UserError, match="--loss hybrid"):
        BASE.changed(learned_variance=True, loss=Denoising(Uniform(steps=10))).denoiser((2,), {})
    with pytest.raises(UserError, match="add --learned-variance true"):
        BASE.changed(loss=Hybrid()).denoiser((2,), {})


def test_a_log_is_json_whatever_the_numbers(tmp_path):
    log = Log(tmp_path, 0)
    log.write(7, {"loss": float("nan"), "bits": float("inf"), "rate": 0.5})
    log.close()
    text = (tmp_path / "log.jsonl").read_text()
    assert text == '{"step": 7, "loss": null, "bits": null, "rate": 0.5}\n'


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": Flow(), "prediction": Velocity()},
        {"schedule": EDM(), "prediction": EDMPrediction(), "z": PoissonNoise(8.0)},
        {
            "schedule": Linear(),
            "prediction": Eps(),
            "learned_variance": True,
            "loss": Hybrid(),
            "sampler": "ddpm-learned",
        },
        {"loss": VariationalBound(), "prediction": Eps(), "sampler": "heun"},
        {"precision": "bf16", "averages": (0.2,), "weight_decay": 0.1, "clip": float("inf"), "decay": "constant"},
    ],
    ids=", ".join,
)
def test_parts_go_together(change, tmp_path):
    run = train(BASE.changed(**change), tmp_path / "run", quiet=True)
    assert_samples(run)
    assert all(np.isfinite(list(line.values())).all() for line in read_log(run.folder))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (17, 2)], ids=str)
def test_pictures_of_any_shape(channels, size, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, channels, *size), np.uint8)
    np.save(tmp_path / "x.npy", x)
    recipe = tiny(own_data(tmp_path / "x.npy"))
    run = train(recipe, tmp_path / "run", quiet=True)  # 6 pictures, less those held out, in batches of 8
    assert run.shape == (channels, *size)
    assert_samples(run)


@pytest.mark.parametrize("columns", [1, 2, 7])
@pytest.mark.parametrize("batch", [1, 100])
def test_points_of_any_shape(columns, batch, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(3.0, 9.0, (5, columns)))
    run = train(tiny(own_data(tmp_path / "x.npy")).changed(batch=batch), tmp_path / "run", quiet=True)
    assert_samples(run, 1)


def test_labels_of_a_folder(tmp_path):
    for name, ink in (("black", 0), ("white", 255), ("grey", 99)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(5):
            Image.new("L", (6, 4), ink + (k if ink < 255 else 0)).save(tmp_path / "data" / name / f"{k}.png")
    run = train(tiny(own_data(tmp_path / "data")), tmp_path / "run", quiet=True)
    assert run.label_names == ("black", "grey", "white") and run.shape == (1, 4, 6)
    assert_samples(run)


def test_a_network_that_cannot_take_the_data_says_so_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="use an MLP"):
        train(BASE.changed(net=UNET_TINY), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_it_learns(tmp_path):
    """The loss falls, and the average of the weights samples nearer to the data than noise is."""
    recipe = BASE.changed(
        net=MLP(width=32, depth=2), steps=250, batch=128, report_every=250, sampling_steps=10, lr=3e-3
    )
    run = train(recipe.changed(data=Toy("eight-gaussians", 2000), condition_dropout=0.0), tmp_path / "run", quiet=True)
    log = [line["loss"] for line in read_log(run.folder) if "loss" in line]
    assert log[-1] < 0.7 * log[0]
    means = torch.stack([run.sample(50, label=k).mean(0) for k in range(8)])
    data = run.dataset()
    truth = torch.stack([data.x[data.labels == k].mean(0) for k in range(8)])
    assert (means - truth).norm(dim=1).mean() < 0.5 * truth.norm(dim=1).mean()


# ------------------------------------------------------------------------------------ what stops a training


def poisoned(step: int):
    """A loss that is NaN at one step."""
    calls, right = [], Denoising.__call__

    def wrong(*told):
        calls.append(1)
        return right(*told) * (float("nan") if len(calls) == step else 1.0)

    return wrong


@pytest.mark.parametrize("step", [1, 63])
def test_a_loss_that_is_nan_stops_with_the_reason_and_the_last_good_state(step, tmp_path, monkeypatch):
    good = 0 if step == 1 else 60
    monkeypatch.setattr(Denoising, "__call__", poisoned(step))
    recipe = BASE.changed(steps=200, save_every=20, report_every=200)
    with pytest.raises(UserError) as caught:
        train(recipe, tmp_path / "run", quiet=True)
    said = str(caught.value)
    assert f"diverged at step {step}: loss nan, gradient norm nan, learning rate 0.00" in said
    assert "try a smaller --lr" in said and f"the state after step {good} is in {tmp_path / 'run'}" in said
    assert "\n" not in said
    state = load_state(tmp_path / "run" / "state")
    assert state.step == good and all(t.isfinite().all() for t in state.tensors.values())
    monkeypatch.undo()
    assert resume(tmp_path / "run", quiet=True).step == 200


def test_a_run_that_exists_is_refused_with_what_to_type(tmp_path):
    folder = tmp_path / "run"
    train(BASE, folder, quiet=True)
    with pytest.raises(UserError, match=f"undiffuse resume {folder}, or choose another --out"):
        train(BASE, folder, quiet=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no run; choose another --out"):
        train(BASE, tmp_path / "other", quiet=True)
    with pytest.raises(UserError, match="is no run"):
        train(BASE, tmp_path / "other" / "notes.txt", quiet=True)
    (tmp_path / "empty").mkdir()
    assert train(BASE, tmp_path / "empty", quiet=True).step == 3


def test_resuming_what_is_no_run(tmp_path):
    (tmp_path / "runs" / "swiss-roll").mkdir(parents=True)
    with pytest.raises(UserError, match=r"not a run, it holds no recipe.yaml"):
        resume(tmp_path / "runs" / "swiss-roll", quiet=True)
    BASE.save(tmp_path / "runs" / "swiss-roll" / "recipe.yaml")
    with pytest.raises(UserError, match="did you mean swiss-roll"):
        resume(tmp_path / "runs" / "swiss-rol", quiet=True)


@pytest.mark.parametrize("when", range(1, 9, 2))
def test_a_full_disk_is_said_and_loses_nothing(when, tmp_path, monkeypatch):
    """Full at any of the files that a save writes."""
    recipe, folder, written = BASE.changed(steps=6, report_every=6), tmp_path / "run", []
    fsync = os.fsync

    def full(handle):
        written.append(handle)
        if len(written) == 8 + when:  # after the first state
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        train(recipe, folder, quiet=True)
    monkeypatch.undo()
    assert load_state(folder / "state") is not None
    run = resume(folder, quiet=True)
    expected = train(recipe, tmp_path / "expected", quiet=True)
    assert torch.equal(run.sample(4), expected.sample(4))
    assert (folder / "log.jsonl").read_text() == (expected.folder / "log.jsonl").read_text()


@pytest.mark.parametrize("clip", [1e-3, 1e6])
def test_gradients_are_clipped_and_logged_as_they_were(clip):
    """What AdamW remembers of the first gradient is (1 - beta1) times it, no longer than the clip."""
    from accelerate import Accelerator

    recipe = BASE.changed(clip=clip)
    trainer = Trainer(recipe, recipe.data.open(), Accelerator())
    trainer.step()
    kept = torch.stack([trainer.optimizer.state[weight]["exp_avg"].norm() for weight in trainer.learned]).norm() / 0.1
    (norm,) = trainer.read()[1]
    assert norm > 1e-2
    assert float(kept) == pytest.approx(min(norm, clip), rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only an accelerator can be waited for")
@pytest.mark.parametrize(
    "recipe", [BASE, BASE.changed(data=Digits(), net=UNET_TINY, precision="bf16")], ids=["points", "pictures"]
)
def test_a_step_waits_for_nothing(recipe):
    from accelerate import Accelerator

    trainer = Trainer(recipe, recipe.data.open(), Accelerator())
    trainer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
