"""A run goes to the hub and comes back the same, by a hub on loopback."""

import json
import re
import sys
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch
import yaml
from little_hub import LittleHub, Repository

from undiffuse.core.errors import UserError
from undiffuse.data.own import Elsewhere, Files
from undiffuse.data.ready import Digits, Toy, WellKnown
from undiffuse.data.source import Between, Only, Smaller, StandardNormal, anywhere
from undiffuse.evaluate.kept import keep_evaluation
from undiffuse.export.hub import files_of, pull, push
from undiffuse.measure.report import Report, Row
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Below, Recipe
from undiffuse.recipe.training import Training
from undiffuse.run.folder import load
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.loop import train

NAME, TOKEN = "ada/digits", "hf_of_this_test"
NET = GaussianDiffusion(UNet(width=8, multiples=(1,), attention=0, embedding=8))
BRIEF = Training(steps=2, batch=4, warmup=1, report_every=2)
RECIPE = Recipe(Smaller(Digits(), 2), NET, training=BRIEF, sampling=Sampling(steps=2))
REPORT = Report((Row("label accuracy", 0.5, 0.9, float("nan"), "higher", ""),), {"samples": 200, "seed": 0})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    server = LittleHub(TOKEN)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return train(RECIPE, folder, quiet=True)


def test_it_comes_back_as_the_same_run(hub, trained, run):
    code, out, error = run("push", trained.folder, NAME)
    assert code == 0, error
    assert f"{hub.address}/{NAME}: 4 files" in out and "private" in out and hub.repositories[NAME].private
    code, out, error = run("pull", NAME, "--out", "pulled")
    assert code == 0 and "undiffuse sample pulled" in out, error
    back = load("pulled")
    assert torch.equal(back.sample(4, seed=3), trained.sample(4, seed=3))
    before = (back.folder / "model.safetensors").read_bytes()
    assert "undiffuse train DATA --init pulled" in run("resume", "pulled", "--steps", 4)[2]
    assert (back.folder / "model.safetensors").read_bytes() == before
    assert back.recipe == trained.recipe and back.label_names == trained.label_names
    assert sorted(path.name for path in back.folder.iterdir()) == sorted(
        ["README.md", "model.safetensors", "pictures", "recipe.yaml"]
    )


def test_the_card_says_what_it_is_and_how_good(trained):
    keep_evaluation(trained, REPORT, f"undiffuse evaluate {trained.folder} -n 200")
    page = files_of(trained, NAME)["README.md"].decode()
    (trained.folder / "evaluation.json").unlink()
    front, _, rest = page.removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(front) == {"library_name": "undiffuse", "tags": ["undiffuse", "diffusion", "pictures"]}
    assert "| label accuracy | 0.5 | 0.9 | higher |" in rest
    assert f"undiffuse evaluate {trained.folder} -n 200" in rest
    assert "undiffuse sample runs/digits -n 16 --label 0" in rest and "(pictures/000000002.png)" in rest
    assert "How good" not in files_of(trained, NAME)["README.md"].decode()


def test_an_evaluation_of_other_weights_is_left_out(trained):
    (trained.folder / "evaluation.json").write_text(
        json.dumps({"model": "another", "command": "", "measures": [], "protocol": {}})
    )
    with pytest.warns(UserWarning, match="other weights"):
        assert "evaluation.json" not in files_of(trained, NAME)
    (trained.folder / "evaluation.json").unlink()


def test_a_run_of_stages_goes_as_a_whole(hub, tmp_path):
    whole = train(replace(RECIPE, data=Digits(), stages=(Below("low", RECIPE),)), tmp_path / "whole", quiet=True)
    push(whole, NAME)
    assert {"stages/low/recipe.yaml", "stages/low/model.safetensors"} <= hub.repositories[NAME].files.keys()
    back, _ = pull(NAME, tmp_path / "back")
    assert torch.equal(back.sample(2, label="3"), whole.sample(2, label="3"))
    del hub.repositories[NAME].files["stages/low/model.safetensors"]
    with pytest.raises(UserError, match="the stage that draws low is not there"):
        pull(NAME, tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_what_is_there_is_not_replaced_unasked(hub, trained, run):
    assert run("push", trained.folder, NAME)[0] == 0
    hub.repositories[NAME].files["tuned.json"] = b"{}"
    code, _, error = run("push", trained.folder, NAME)
    assert code == 2 and "add --force" in error
    assert run("push", trained.folder, NAME, "--force")[0] == 0
    assert "tuned.json" not in hub.repositories[NAME].files  # of other weights
    assert "choose another --out" in (run("pull", NAME, "--out", "."))[2]
    hub.repositories["ada/other"] = Repository({"model.bin": b"pickle"}, True)
    assert "something else" in run("push", trained.folder, "ada/other", "--force")[2]
    hub.repositories["ada/seen"] = Repository({}, False)
    assert "add --public" in run("push", trained.folder, "ada/seen")[2]
    code, out, _ = run("push", trained.folder, "ada/seen", "--public")
    assert code == 0 and "everybody may see it" in out


def test_only_the_files_of_a_run_are_pulled(hub, trained, tmp_path):
    push(trained, NAME)
    hub.repositories[NAME].files.update({"optimizer.pkl": b"bad", "stages/../../up/recipe.yaml": b"bad"})
    back, said = pull(NAME, tmp_path / "back")
    assert "left there: optimizer.pkl, stages/../../up/recipe.yaml" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"bad"]
    assert not list(back.folder.rglob(".*"))


@pytest.mark.parametrize(
    ("file", "held", "said"),
    [
        ("model.safetensors", lambda held: held[:-1], f"{NAME}/model.safetensors: truncated"),
        ("recipe.yaml", lambda held: held.replace(b"model:", b"mode:"), f"{NAME}/recipe.yaml: "),
        ("recipe.yaml", lambda held: b"a: !!python/object/apply:os.getcwd []", f"{NAME}/recipe.yaml: not YAML"),
        ("recipe.yaml", lambda held: None, "no run of undiffuse, it holds no recipe.yaml"),
        ("model_index.json", lambda held: b"{}", "a pipeline of diffusers; get it with: hf download"),
    ],
)
def test_what_is_damaged_is_not_there(hub, trained, tmp_path, file, held, said):
    push(trained, NAME)
    files = hub.repositories[NAME].files
    now = held(files.pop(file, b""))
    hub.repositories[NAME] = Repository(files | ({file: now} if now is not None else {}), True)
    with pytest.raises(UserError, match=re.escape(said)):
        pull(NAME, tmp_path / "back")
    assert not list(tmp_path.glob("*back*"))


def test_a_file_that_comes_short_is_said(hub, trained, tmp_path, monkeypatch):
    push(trained, NAME)
    told = hub.RequestHandlerClass.told

    def longer(self, name, repository):
        found = told(self, name, repository)
        return found | {"siblings": [one | {"size": one["size"] + 1} for one in found["siblings"]]}

    monkeypatch.setattr(hub.RequestHandlerClass, "told", longer)
    with pytest.raises(UserError, match="did not come whole"):
        pull(NAME, tmp_path / "back")


def test_each_thing_that_may_be_missing_is_a_line(hub, trained, run, monkeypatch):
    from huggingface_hub import constants

    assert "called owner/name" in run("pull", "digits")[2]
    assert "no such repository" in run("pull", "ada/nothing")[2]
    hub.denied = 403
    assert "your token may not do that" in run("push", trained.folder, NAME)[2]
    monkeypatch.delenv("HF_TOKEN")
    hub.denied = 0
    assert "log in with: hf auth login" in run("push", trained.folder, NAME)[2]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    code, _, error = run("pull", NAME)
    assert code == 1 and "is there a network?" in error and len(error.splitlines()) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in run("pull", NAME)[2]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'undiffuse[hub]'" in run("pull", NAME)[2]


def test_no_path_of_this_machine_is_in_a_recipe(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    mine = Files(str(tmp_path / "a.npy"))
    assert anywhere(mine) == Elsewhere()
    assert anywhere(Only(mine, "3")) == Only(Elsewhere(), "3")
    assert anywhere(Between(mine, StandardNormal())) == Between(Elsewhere(), StandardNormal())
    assert anywhere(WellKnown("mnist", str(tmp_path))) == WellKnown("mnist")
    assert anywhere(Toy()) == Toy()
