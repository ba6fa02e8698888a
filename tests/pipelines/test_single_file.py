"""A pipeline whose weights are one file answers as the folder does; what is missing is said in a line."""

import shutil

import pytest
import tiny_pipelines as tiny
import torch
from ldm import write_whole

from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.run.folder import load

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same pipeline, each part with its weights; and all weights in one file."""
    base = tmp_path_factory.mktemp("single")
    folder = tiny.stable_diffusion(base / "folder", base / "work")
    shutil.copytree(folder, base / "single", ignore=shutil.ignore_patterns("*.safetensors"))
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    write_whole(pipeline, base / "single" / "checkpoint.safetensors")
    return folder, base / "single"


def test_it_draws_what_the_folder_draws(both):
    folder, single = (load(path) for path in both)
    for name, weight in folder.module.state_dict().items():
        torch.testing.assert_close(single.module.state_dict()[name], weight, rtol=0, atol=0)
    how = {"text": "a red circle", "steps": 2, "guidance": 3.0}
    assert folder.sample(2, **how).equal(single.sample(2, **how))


def changed(both, tmp_path, change):
    path = tmp_path / "spoilt"
    shutil.copytree(both[1], path)
    change(path)
    return path


def lacking(path):
    tensors, _ = read_tensors(path / "checkpoint.safetensors")
    del tensors["model.diffusion_model.input_blocks.0.0.weight"]
    write_tensors(path / "checkpoint.safetensors", tensors)


def of_something_else(path):
    write_tensors(path / "checkpoint.safetensors", {"a": torch.zeros(2)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacking, "checkpoint.safetensors: has not all weights of unet; is it whole"),
        (
            of_something_else,
            "no AutoencoderKL (Failed to load AutoencoderKL. Weights for this component appear to be missing",
        ),
        (lambda path: shutil.copy(path / "checkpoint.safetensors", path / "other.safetensors"), "which of checkpoint"),
        (lambda path: shutil.rmtree(path / "vae"), "incomplete, there is no vae/"),
        (lambda path: (path / "checkpoint.safetensors").write_bytes(b"no"), "checkpoint.safetensors"),
        (lambda path: (path / "checkpoint.safetensors").unlink(), "it holds no weights"),
    ],
)
def test_what_is_missing_is_said_in_a_line(both, tmp_path, change, said):
    with pytest.raises(UserError) as caught:
        load(changed(both, tmp_path, change))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_file_alone_says_what_it_lacks(both):
    with pytest.raises(UserError, match="weights alone, without sizes, scheduler or tokenizer; put it beside"):
        load(both[1] / "checkpoint.safetensors")
