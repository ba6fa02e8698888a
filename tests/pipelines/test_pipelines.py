"""Somebody else's pipeline is a run: its samples are those of diffusers where it is right, and all else works."""

import json
import math
import shutil
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from PIL import Image

from undiffuse.core.errors import Caution, UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.pipeline.network import PlainUNet
from undiffuse.pipeline.scheduler import OfFlow, OfTable
from undiffuse.process import Flow
from undiffuse.process.rescale import Shifted
from undiffuse.run.folder import load
from undiffuse.run.start import Kept
from undiffuse.sampling.loop import last, trajectory
from undiffuse.sampling.sampling import Guidance

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*is outdated:FutureWarning", "ignore:__array__:DeprecationWarning")

TEXTS = ["a red circle", "left of a blue square"]
MADE = {
    "plain": lambda folder, work: tiny.unconditional(folder),
    "dit": lambda folder, work: tiny.dit(folder),
    "sd": tiny.stable_diffusion,
    "sdxl": tiny.sdxl,
    "sd3": tiny.sd3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a pipeline of that name, made once."""
    base = tmp_path_factory.mktemp("pipelines")

    def folder(name):
        if not (base / name).exists():
            MADE[name](base / name, base / "work")
        return base / name

    return folder


def theirs(path):
    absent = {"text_encoder_3": None, "tokenizer_3": None} if path.name == "sd3" else {}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(path, **absent)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def noise(run, count=2):
    """As diffusers draws it."""
    return torch.randn(count, *run.codec.latent_shape, generator=torch.Generator().manual_seed(0))


class Drawn:
    """Standard normals from the generator that diffusers is given, after the first state was drawn from it."""

    def __init__(self, like):
        self.generator = torch.Generator().manual_seed(0)
        self.normal(like)

    def normal(self, like):
        return torch.randn(like.shape, generator=self.generator)


def latents(run, how, **asked):
    """What diffuses, at the end."""
    plan, z = run.plan(how), noise(run)
    wanted = run.conditions(2, run.request(None, asked)) if asked else None
    return last(trajectory(plan.step, partial(plan.denoise, conditions=wanted), z, plan.times, Drawn(z)))


def generator():
    return torch.Generator().manual_seed(0)


def alike(mine, expected):
    """To the rounding of float32, in the size of what is compared."""
    assert (mine - expected).abs().max() < 2e-5 * expected.abs().max()


def pixels(z):
    return (z / 2 + 0.5).permute(0, 2, 3, 1)


GENTLE = {"beta_start": 1e-4, "beta_end": 3e-3}  # what is wrong is not magnified at the start


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_ddim_of_pixels_is_theirs(tmp_path, prediction, spacing):
    path = tiny.unconditional(tmp_path / "p", prediction_type=prediction, timestep_spacing=spacing, **GENTLE)
    run = load(path)
    mine = latents(run, run.sampling.override(steps=10, grid=spacing))
    pipeline = theirs(path)
    pipeline.scheduler.set_timesteps(10)
    x = noise(run)
    with torch.no_grad():
        for t in pipeline.scheduler.timesteps:
            x = pipeline.scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
    alike(mine, x)
    how = run.sampling.override(steps=10, grid=spacing)
    made = run.sample(2, sampling=how, start=Kept(noise(run), run.plan(how).times[0])).permute(0, 2, 3, 1)
    shown = pipeline(2, generator=generator(), num_inference_steps=10, output_type="np").images
    assert (made - 255 * torch.tensor(shown)).abs().max() <= 0.51


def test_what_is_clipped_is_clipped(tmp_path):
    path = tiny.unconditional(tmp_path / "p", clip_sample=True)
    run = load(path)
    assert run.sampling.guidance.threshold == "static"
    asked = {"num_inference_steps": 10, "output_type": "np", "use_clipped_model_output": True}  # the noise, too
    shown = theirs(path)(2, generator=generator(), **asked).images
    assert (pixels(latents(run, run.sampling.override(steps=10))) - torch.tensor(shown)).abs().max() < 1e-4


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm_is_theirs(tmp_path, variance):
    """On the grid where its last step, to the data, adds no noise."""
    path = tiny.unconditional(tmp_path / "p", **GENTLE)
    settings = {"clip_sample": False, "timestep_spacing": "leading", "variance_type": variance, **GENTLE}
    diffusers.DDPMScheduler(**settings).save_pretrained(path / "scheduler")
    run = load(path)
    assert run.sampling.sampler == {"fixed_small": "ddpm", "fixed_large": "ddpm-large"}[variance]
    x, unet, scheduler = noise(run), theirs(path).unet, diffusers.DDPMScheduler(**settings)
    scheduler.set_timesteps(10)
    drawn = torch.Generator().manual_seed(0)
    torch.randn(x.shape, generator=drawn)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x, generator=drawn).prev_sample
    alike(latents(run, run.sampling.override(steps=10, grid="leading")), x)


@pytest.mark.parametrize("steps", [6, 20])
def test_dpm_solver_is_theirs(tmp_path, steps):
    path = tiny.unconditional(tmp_path / "p", **GENTLE)
    settings = {"timestep_spacing": "trailing", "final_sigmas_type": "zero", **GENTLE}
    diffusers.DPMSolverMultistepScheduler(**settings).save_pretrained(path / "scheduler")
    run = load(path)
    assert run.sampling.sampler == "dpm++2m"
    x, unet, scheduler = noise(run), theirs(path).unet, diffusers.DPMSolverMultistepScheduler(**settings)
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    alike(latents(run, run.sampling.override(steps=steps)), x)


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
@pytest.mark.parametrize("negative", [None, "a square"])
def test_words_are_theirs(folder, name, negative):
    """Guided, and guided away from other words."""
    run, pipeline = load(folder(name)), theirs(folder(name))
    how = run.sampling.override(steps=10, guidance=Guidance(3.0, negative_text=negative))
    mine = latents(run, how, text=TEXTS)
    # a flow's own sigmas end at those of T steps, shifted twice; told ours, it agrees
    sigmas = {"sigmas": [(10 - k) / 10 for k in range(10)]} if name == "sd3" else {}
    asked = {"negative_prompt": negative and [negative] * 2, "guidance_scale": 3.0, "num_inference_steps": 10}
    alike(mine, pipeline(TEXTS, latents=noise(run), output_type="latent", **asked, **sigmas).images)
    plain = latents(run, run.sampling.override(steps=10, guidance=1.0), text=TEXTS)
    assert not torch.allclose(mine, plain, rtol=1e-3)


def test_labels_are_theirs_and_pictures_are_decoded_alike(folder):
    run, pipeline = load(folder("dit")), theirs(folder("dit"))
    mine = latents(run, run.sampling.override(steps=10, guidance=3.0), label=["5", "crane (9)"])
    shown = pipeline([5, 9], generator=generator(), num_inference_steps=10, guidance_scale=3.0, output_type="np").images
    decoded = pixels(run.codec.decoder(run.codec.latents.decode(mine))).clamp(0, 1)
    assert (decoded - torch.tensor(shown)).abs().max() < 1e-4
    assert run.specifications["label"].names[3] == "thing 3"


def test_a_shifted_flow_follows_its_picture(tmp_path):
    """A dynamic shift depends on the number of places."""
    run = load(tiny.sd3(tmp_path / "sd3", tmp_path / "work", use_dynamic_shifting=True, base_image_seq_len=4))
    assert run.denoiser.process.schedule.shift == pytest.approx(math.exp(0.5 + 0.65 * (16 - 4) / (4096 - 4)))


def test_a_zero_terminal_table_begins_in_pure_noise(tmp_path):
    path = tiny.unconditional(tmp_path / "p", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    run = load(path)
    assert run.denoiser.process.schedule.at(1.0).alpha == 0
    shown = theirs(path)(2, generator=generator(), num_inference_steps=10, output_type="np").images
    assert (pixels(latents(run, run.sampling.override(steps=10))).clamp(0, 1) - torch.tensor(shown)).abs().max() < 1e-4


def test_the_number_that_a_network_is_told():
    table, flow = OfTable(1000), OfFlow(Shifted(Flow(), 3.0), 1000)
    assert [table(t) for t in (1.0, 0.5, 0.001, 0.0)] == [999, 499, 0, 0]
    assert table(torch.tensor([1.0, 0.001])).tolist() == [999, 0]
    assert flow(1.0) == 1000 and flow(0.5) == pytest.approx(750)


# ------------------------------------------------------------------------------------- what else may be done with it


def test_a_text_is_encoded_once_and_kept_whole(folder, monkeypatch):
    run = load(folder("sd"))
    said = []
    encoder = type(run.denoiser.told.encode)
    encode = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda self, text: said.append(text) or encode(self, text))
    x = run.sample(4, text=["Ünïcode, a circle", "a red circle"], steps=3, guidance=3.0)
    assert x.shape == (4, 3, 16, 16) and x.dtype == torch.uint8
    assert sorted(said, key=str) == [None, "a red circle", "Ünïcode, a circle"]
    with pytest.warns(Caution, match="longer than the 20 tokens that this model reads; cut before"):
        run.sample(1, text="a very long text of many letters", steps=1)


def test_every_command_takes_it(folder, run, tmp_path):
    """From words to pictures, from pictures, compared, tuned."""
    plain, words = folder("plain"), folder("sd")
    assert run("sample", words, "-n", 2, "--text", "a red circle", "--steps", 2, "--out", "s.png")[0] == 0
    assert "sampler=dpm" not in run("data", "s.png")[1]
    code, _, err = run("sample", plain, "-n", 4, "--sampler", "dpm++2m", "--steps", 3, "--out", "p.npy")
    assert (code, err) == (0, "")
    np.save("one.npy", np.load("p.npy")[:1])
    assert run("sample", plain, "-n", 2, "--init-picture", "one.npy", "--steps", 4, "--out", "i.npy")[0] == 0
    hole = np.zeros((1, 1, 8, 8), np.uint8)
    hole[..., :4] = 1
    np.save("mask.npy", hole)
    assert (
        run("sample", plain, "-n", 2, "--known", "one.npy", "--mask", "mask.npy", "--steps", 4, "--out", "k.npy")[0]
        == 0
    )
    assert (np.load("k.npy")[..., 4:] == np.load("one.npy")[..., 4:]).all()
    assert run("invert", plain, "one.npy", "--steps", 4, "--out", "n.npz")[0] == 0
    assert run("sample", words, "-n", 1, "--text", "a circle", "--steps", 2, "--out", "s.gif")[0] == 0
    assert run("tune", plain, "--evaluations", 2, "--noises", 4, "--rounds", 1)[0] == 0
    (plain / "tuned.json").unlink()
    code, _, err = run("compare", plain, "--steps", "2,3", "-n", 8, "--samplers", "ddim,dpm++2m", "--seeds", 1)
    assert (code, err) == (1, "undiffuse: this model came without its data; say what stands for it: --data FOLDER\n")
    np.save("data.npy", np.random.default_rng(0).integers(0, 255, (64, 1, 8, 8), np.uint8))
    asked = ("--steps", "2,3", "-n", 8, "--samplers", "ddim,dpm++2m", "--seeds", 1, "--data", "data.npy")
    code, _, err = run("compare", plain, *asked)
    assert code == 0, err
    code, _, err = run("evaluate", plain, "-n", 16, "--steps", 2, "--data", "data.npy")
    assert code == 0, err
    np.save("other.npy", np.zeros((4, 2), np.float32) + np.arange(4, dtype=np.float32)[:, None])
    code, _, err = run("compare", plain, "--data", "other.npy")
    assert code == 1 and "points of shape (2,), and this run makes pictures of shape (1, 8, 8)" in err
    code, _, err = run("distill", plain, "--method", "progressive", "--out", "fast", "--quiet")
    assert code == 2 and "its network is sampled here, and not trained" in err
    assert not Path("fast").exists()


def test_a_picture_begins_a_model_of_latents(folder, run, tmp_path):
    """A .png is bytes, and so are the pictures that a model of latents makes."""
    x = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(x).save("one.png")
    asked = ("--init-picture", "one.png", "--strength", 0.01, "--steps", 4, "--label", 7)
    code, out, err = run("sample", folder("dit"), "-n", 1, *asked, "--out", "i.npy")
    assert (code, err) == (0, "") and "1 picture" in out
    assert np.load("i.npy").dtype == np.uint8


# ------------------------------------------------------------------------------------------------------- bad input


def spoilt(folder, tmp_path, change):
    path = tmp_path / "spoilt"
    shutil.copytree(folder("sd"), path)
    change(path)
    return path


def rewritten(file, **settings):
    return lambda path: (path / file).write_text(json.dumps(json.loads((path / file).read_text()) | settings))


def pickled(path):
    torch.save({}, path / "unet" / "diffusion_pytorch_model.bin")
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def cut_short(path):
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def lacking(path):
    file = path / "unet" / "diffusion_pytorch_model.safetensors"
    tensors, _ = read_tensors(file)
    tensors.pop("conv_in.weight")
    write_tensors(file, tensors, {"format": "pt"})


def without(*names):
    def change(path):
        for name in names:
            shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rewritten("model_index.json", _class_name="FluxPipeline"), "unknown pipeline of diffusers 'FluxPipeline'; "),
        (rewritten("model_index.json", unet=["diffusers", "UNetMotionModel"]), "unknown network of diffusers"),
        (rewritten("model_index.json", unet=None), "incomplete, model_index.json names no unet"),
        (rewritten("model_index.json", text_encoder=[None, None]), "it has no text_encoder, and so reads no words"),
        (rewritten("model_index.json", vae=["diffusers", "VQModel"]), "unknown autoencoder of diffusers 'VQModel'"),
        (rewritten("scheduler/scheduler_config.json", _class_name="TCD"), "unknown scheduler of diffusers 'TCD'"),
        (rewritten("scheduler/scheduler_config.json", beta_schedule="x"), "unknown beta_schedule 'x'; known: linear"),
        (rewritten("scheduler/scheduler_config.json", prediction_type="flow"), "unknown prediction_type 'flow'"),
        (rewritten("scheduler/scheduler_config.json", rescale_betas_zero_snr=True), "with prediction_type epsilon"),
        (without("unet"), "incomplete, there is no unet/"),
        (without("scheduler"), "incomplete, there is no scheduler/"),
        (without("text_encoder"), "incomplete, there is no text_encoder/"),
        (without("tokenizer"), "incomplete, there is no tokenizer/"),
        (without("unet/diffusion_pytorch_model.safetensors"), "it holds no weights"),
        (pickled, "weights are pickled, and a pickle may run any code"),
        (cut_short, "no UNet2DConditionModel"),
        (lacking, "lack 1 tensors, conv_in.weight first"),
        (lambda path: (path / "model_index.json").write_text("{"), "not JSON"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, tmp_path, change, said):
    with pytest.raises(UserError) as caught:
        load(spoilt(folder, tmp_path, change))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_is_told_a_picture_is_refused():
    net = PlainUNet(SimpleNamespace(config=SimpleNamespace(in_channels=9, out_channels=4)))
    with pytest.raises(UserError, match="takes 9 channels and makes 4: it is told a picture too"):
        _ = net.learns_variance


def test_what_is_not_installed_is_named(folder, monkeypatch):
    made = folder("plain")  # by diffusers
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install 'undiffuse\[diffusers\]'"):
        load(made)


def test_words_of_a_model_of_labels_are_refused(folder):
    with pytest.raises(UserError, match="trained without words"):
        load(folder("dit")).sample(1, text="a circle")
