"""Two processes that share out the weights train what one does, each keeping its part; files hold the whole."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from launched import SHARDED, launch, start, workers
from safetensors.torch import load_file

from undiffuse.cli import main
from undiffuse.codec import Normalise
from undiffuse.core.errors import UserError
from undiffuse.data.ready import Toy
from undiffuse.loss.score_matching import ScoreMatching
from undiffuse.net import MLP
from undiffuse.process.learned import Learned
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.train.objective import denoising
from undiffuse.train.shard import Sharded, requested

TINY = "--steps 12 --batch 16 --net.width 15 --net.depth 2 --data.count 200 --report-every 12 --save-every 4"
LATENT = (
    "--steps 4 --batch 16 --net.width 15 --net.depth 1 --codec.hidden 15 --codec.fit.steps 4 --codec.fit.batch 16 "
    "--report-every 4 --sampling-steps 2"
)  # odd widths: parts of different sizes


def alone(words: str) -> None:
    assert main(words.split()) == 0


def shared_out(words: str) -> None:
    done = launch(2, words, **SHARDED)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "run"
    alone(f"train moons --quiet --out {folder} {TINY}")
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    shared_out(f"train moons --quiet --out {folder} {TINY}")
    return folder


def cut(run: Path, to: Path) -> Path:
    """The run, as if it had been killed after step 8."""
    shutil.copytree(run, to)
    for path in (to / "state").glob("*12.*"):
        path.unlink()
    return to


def assert_alike(folder: Path, other: Path, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Every file of tensors holds the same ones, to rounding."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.safetensors"))
    assert files == sorted(path.relative_to(other) for path in other.rglob("*.safetensors"))
    for file in files:
        mine, theirs = load_file(folder / file), load_file(other / file)
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"window"}:  # the log shows the main process's share of the batch
            torch.testing.assert_close(mine[name], theirs[name], rtol=rtol, atol=atol, msg=f"{file}: {name}")


def test_it_trains_what_one_process_does(one, two):
    assert_alike(two, one)
    norms = [load_file(run / "state/000000012.safetensors")["window"][1] for run in (one, two)]
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-3, atol=1e-5)


def test_it_goes_on_bit_for_bit(two, tmp_path):
    folder = cut(two, tmp_path / "run")
    shared_out(f"resume {folder} --quiet")
    assert_alike(folder, two, rtol=0, atol=0)


def test_it_goes_on_where_nothing_is_shared_out(one, two, tmp_path):
    folder = cut(two, tmp_path / "run")
    alone(f"resume {folder} --quiet")
    assert_alike(folder, one)


def test_what_one_process_began_goes_on_shared_out(one, tmp_path):
    folder = cut(one, tmp_path / "run")
    shared_out(f"resume {folder} --quiet")
    assert_alike(folder, one)


def test_an_autoencoder_and_its_latents_are_shared_out(tmp_path):
    alone(f"train digits-latent --quiet --out {tmp_path / 'one'} {LATENT}")
    shared_out(f"train digits-latent --quiet --out {tmp_path / 'two'} {LATENT}")
    assert_alike(tmp_path / "two", tmp_path / "one")


PARTS = """
from accelerate import Accelerator
from undiffuse.data.ready import Toy
from undiffuse.net import MLP
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.train.trainer import Trainer

recipe = Recipe(Toy("moons", count=64), GaussianDiffusion(MLP()), training=Training(batch=8))
trainer = Trainer(recipe, recipe.data.open(), Accelerator())
trainer.step()
held = {name: value for name, value in trainer._held().items() if hasattr(value, "to_local")}
assert {name.split(".")[0] for name in held} == {"objective", "average 0", "optimizer"}
share = sum(value.to_local().numel() for value in held.values()) / sum(value.numel() for value in held.values())
assert 0.49 < share < 0.51, share
"""


def test_a_process_keeps_its_part_of_weights_averages_and_optimizer_state(tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    with start(2, str(tmp_path / "parts.py"), **SHARDED) as running:
        _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err[-2000:]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc")
def test_one_that_is_stopped_stops_all_and_the_whole_is_saved(tmp_path):
    folder = tmp_path / "run"
    words = f"train moons --quiet --out {folder} {TINY} --steps 1000000 --save-every 1000000"
    with start(2, f"-m undiffuse {words}", **SHARDED) as group:
        try:
            deadline = time.monotonic() + 60
            while not (folder / "log.jsonl").exists() or not (folder / "log.jsonl").read_text():
                assert time.monotonic() < deadline and group.poll() is None
                time.sleep(0.2)
            os.kill(max(workers(group.pid)), signal.SIGINT)
            _, err = group.communicate(timeout=60)
        finally:
            group.kill()
    assert f"go on with: undiffuse resume {folder}" in err
    newest = max((folder / "state").glob("*.safetensors"))
    model, state = load_file(folder / "model.safetensors"), load_file(newest)
    assert int(newest.stem) > 0
    for name in (name for name in model if name.startswith("denoiser.")):
        assert torch.equal(model[name], state.get(f"average 0.05.{name[9:]}", model[name]))
        assert model[name].shape == state[f"objective.{name}"].shape


def test_the_first_version_of_fsdp_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.delenv("FSDP_VERSION", raising=False)
    with pytest.raises(UserError, match="tell accelerate --fsdp_version 2"):
        requested()


@pytest.mark.parametrize(
    ("part", "told"), [({"schedule": Learned()}, "learned schedule"), ({"loss": ScoreMatching()}, "two derivatives")]
)
def test_what_cannot_be_shared_out_is_refused(part, told):
    recipe = Recipe(Toy("moons", count=64), GaussianDiffusion(MLP(), **part))
    data = recipe.data.open()
    with pytest.raises(UserError, match=told):
        Sharded(denoising(recipe, Normalise.measure(data), data), Accelerator(cpu=True))
