"""A run goes on bit for bit: N steps are k steps, kill -9, N - k steps. In processes of their own, really killed."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from killed import assert_same, one_thread, stopped, whole  # noqa: F401  # a fixture
from logged import read_log

from undiffuse.codec import MLPVAE
from undiffuse.codec.vae import Fit
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors
from undiffuse.data.ready import Digits, Toy
from undiffuse.loss.adaptive import Adaptive, Importance
from undiffuse.loss.denoising import Denoising
from undiffuse.loss.variational import ContinuousBound
from undiffuse.net import MLP, UNet
from undiffuse.process.learned import Learned
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.lock import alone
from undiffuse.train.loop import resume, train
from undiffuse.train.state import load_state

TINY = MLP(width=16, depth=1, waves=8, embedding=8)
STEPS = 130
BASE = Recipe(
    Toy("moons", 200),
    GaussianDiffusion(TINY),
    training=Training(steps=STEPS, batch=32, warmup=10, save_every=40, report_every=60, averages=(0.1, 0.05)),
    sampling=Sampling(steps=3),
)
RECIPES = {
    "labels dropped, an importance law": BASE.changed(
        loss=Denoising(time=Importance(bins=5, history=2)), condition_dropout=0.5
    ),
    "a learned schedule": BASE.changed(schedule=Learned(learn_ends=True, units=4), loss=ContinuousBound(), lr=1e-3),
    "latents of an autoencoder": BASE.changed(
        data=Digits(), codec=MLPVAE(latent=4, hidden=(16,), fit=Fit(steps=60, batch=16)), report_every=1000
    ),
    "pictures in bf16, an adaptive law": BASE.changed(
        data=Digits(),
        net=UNet(width=8, multiples=(1,), attention=0, embedding=8),
        batch=4,
        precision="bf16",
        loss=Denoising(time=Adaptive(bins=5)),
        sampling_steps=1,
        report_every=1000,
    ),
}


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """Runs that were never stopped, by recipe."""
    done = {}

    def run(name):
        if name not in done:
            torch.set_num_threads(1)
            done[name] = train(RECIPES[name], tmp_path_factory.mktemp("through") / "run", quiet=True)
        return done[name]

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_kill_9_loses_nothing(name, through, tmp_path):
    """Killed at step 107: the log (line 100) is ahead of the state of step 80, and is cut back."""
    folder = tmp_path / "run"
    code, _ = stopped(RECIPES[name], folder, 107, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert load_state(folder / "state").step == 80
    assert read_log(folder)[-1]["step"] == 100
    assert_same(resume(folder, quiet=True), through(name))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_codec_s_training_is_resumed_too(how, through, tmp_path):
    """Ended at step 47 of the autoencoder's 60: the denoiser has not begun."""
    name, folder = "latents of an autoencoder", tmp_path / "run"
    code, said = stopped(RECIPES[name], folder, 47, how)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert load_state(folder / "codec" / "state").step == (40 if how == signal.SIGKILL else 47)
    assert not (folder / "state").exists() and (how == signal.SIGKILL or str(folder) in said)
    assert_same(resume(folder, quiet=True), through(name))
    codec, theirs = (read_tensors(run / "codec" / "model.safetensors")[0] for run in (folder, through(name).folder))
    assert all(torch.equal(codec[part], theirs[part]) for part in theirs)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(how, through, tmp_path):
    """The step is finished and saved, and the last words say how to go on."""
    name, folder = next(iter(RECIPES)), tmp_path / "run"
    code, said = stopped(RECIPES[name], folder, 53, how)
    assert code == 130
    assert said == f"stopped, and saved after step 53; go on with: undiffuse resume {folder}"
    assert load_state(folder / "state").step == 53
    assert_same(resume(folder, quiet=True), through(name))


def test_killed_before_anything_was_saved(through, tmp_path):
    """Only the recipe is there, or the first state."""
    name, folder = next(iter(RECIPES)), tmp_path / "run"
    folder.mkdir()
    RECIPES[name].save(folder / "recipe.yaml")
    assert_same(resume(folder, quiet=True), through(name))


def test_a_finished_run_stays_as_it_is(through):
    run = through(next(iter(RECIPES)))
    before = whole(run)
    again = whole(resume(run.folder, quiet=True))
    assert before[1] == again[1] and all(torch.equal(before[0][name], again[0][name]) for name in before[0])


def test_training_twice_is_the_same_and_leaves_the_callers_randomness_alone(through, tmp_path):
    name = next(iter(RECIPES))
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    assert_same(train(RECIPES[name], tmp_path / "run", quiet=True), through(name))
    assert torch.equal(torch.get_rng_state(), expected)  # nor anything of the caller's randomness


def test_two_trainings_do_not_share_a_folder(through, tmp_path):
    name, folder = next(iter(RECIPES)), tmp_path / "run"
    stopped(RECIPES[name], folder, 53, signal.SIGKILL)  # what it held is free
    with alone(folder), pytest.raises(UserError, match="another process is training in it"):
        resume(folder, quiet=True)
    assert_same(resume(folder, quiet=True), through(name))
    assert not (folder / ".lock").exists()


def test_a_damaged_state_falls_back(through, tmp_path):
    name, folder = next(iter(RECIPES)), tmp_path / "run"
    stopped(RECIPES[name], folder, 107, signal.SIGKILL)
    newest = folder / "state" / "000000080.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_same(resume(folder, quiet=True), through(name))


def test_another_recipe_or_other_data_is_refused(tmp_path):
    recipe = BASE.changed(steps=5)
    folder = tmp_path / "run"
    train(recipe, folder, quiet=True)
    recipe.changed(steps=9, net=replace(TINY, width=24)).save(folder / "recipe.yaml")
    with pytest.raises(UserError, match="saved state is of another model"):
        resume(folder, quiet=True)
    recipe.changed(steps=9, data=Toy("moons", 201)).save(folder / "recipe.yaml")
    with pytest.raises(UserError, match=r"data is not what this run was trained on \(rows"):
        resume(folder, quiet=True)
    recipe.changed(steps=9, data=Toy("moons", 200, seed=1)).save(folder / "recipe.yaml")
    with pytest.raises(UserError, match=r"data is not what this run was trained on \(data crc32"):
        resume(folder, quiet=True)


def test_the_log_is_lines_of_json(through):
    lines = [json.loads(line) for line in (through(next(iter(RECIPES))).folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [50, 100, 130]
    assert [line["step"] for line in lines if "floor" in line] == [60, 120, 130]
    assert all(line["step"] <= STEPS for line in lines)
