"""Pictures from pictures on the command line: what is asked is done, and what cannot be is said in one line."""

import numpy as np
import pytest
import torch
from PIL import Image

import undiffuse
from undiffuse.run.invert import invert
from undiffuse.run.start import Noised


@pytest.fixture
def picture(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(x).save(tmp_path / "a.png")
    Image.fromarray(x.T).save(tmp_path / "b.png")
    Image.fromarray(np.stack([x, x.T, x], -1)).save(tmp_path / "colour.png")
    Image.fromarray(np.kron(x, np.ones((2, 2), np.uint8))).save(tmp_path / "large.png")
    return torch.tensor(x)[None, None]


def test_a_picture_to_start_from(run, pictures_run, picture):
    words = ["sample", pictures_run, "--init-picture", "a.png", "--steps", "10", "--label", "3"]
    code, out, err = run(*words, "--strength", ".4", "--out", "x.npy")
    assert (code, err) == (0, "") and "wrote x.npy: 1 picture, ddim with 4 steps, 4 network evaluations" in out
    model = undiffuse.load(pictures_run)
    x = model.sample(1, label="3", steps=10, start=Noised(picture, 0.4))
    assert (np.load("x.npy") == x.numpy()).all()
    assert run(*words, "-n", "5", "--out", "x.gif")[0] == 0
    near, far = (model.sample(8, steps=10, start=Noised(picture, s)).float() - picture for s in (0.02, 1.0))
    assert near.abs().mean() < 0.2 * far.abs().mean()


def test_an_exact_inversion_is_sampled_by_its_own_steps(run, pictures_run, picture):
    steps = ["--steps", "10", "--label", "2"]
    code, out, err = run("invert", pictures_run, "a.png", *steps, "--exact")
    assert (code, err) == (0, "") and "wrote noise.npz" in out
    assert run("sample", pictures_run, "--noise", "noise.npz", *steps, "--out", "x.npy")[0] == 0
    assert np.load("x.npy").shape == (1, 1, 8, 8) and (np.load("x.npy") == picture.numpy()).all()
    for words, said in (
        (["--steps", "11"], "sampled in the steps of that"),
        (["--steps", "10", "--sampler", "dpm++2m", "--grid", "trailing"], "sampled by ddim, corrected"),
    ):
        code, _, err = run("sample", pictures_run, "--noise", "noise.npz", *words)
        assert code and said in err and "\n" not in err.strip()
    assert (
        "leave --refine or --exact out"
        in run("invert", pictures_run, "a.png", "--exact", "--refine", "2", "--out", "n.npz")[2]
    )


def test_at_full_strength_it_is_an_ordinary_sample(run, pictures_run, picture):
    words = ["sample", pictures_run, "-n", "3", "--steps", "4"]
    assert run(*words, "--out", "x.npy")[0] == 0
    assert run(*words, "--out", "y.npy", "--init-picture", "a.png", "--strength", "1")[0] == 0
    assert (np.load("x.npy") == np.load("y.npy")).all()


def test_a_picture_s_noise_makes_it_again(run, pictures_run, picture):
    code, out, err = run("invert", pictures_run, "a.png", "--label", "2", "--steps", "20", "--refine", "8")
    assert (code, err) == (0, "") and "wrote noise.npz: the noise of 1 picture; what comes back is off by" in out
    words = ["sample", pictures_run, "--noise", "noise.npz", "--steps", "20", "--label", "2"]
    for seed in ("0", "1"):  # nothing else is random
        assert run(*words, "--seed", seed, "--out", "x.npy", "--force")[0] == 0
        assert np.abs(np.load("x.npy")[0].astype(float) - picture[0].numpy()).max() < 2
    with np.load("noise.npz") as found:
        kept = invert(undiffuse.load(pictures_run), picture, {"label": "2"}, refine=8)
        assert found["noise"].shape == tuple(kept.x.shape) and float(found["time"]) == 1.0


def test_between_two(run, pictures_run, picture):
    code, out, err = run("interpolate", pictures_run, "--seeds", "1,2", "--steps", "3", "-n", "5", "--out", "x.npy")
    assert (code, err) == (0, "") and "wrote x.npy: 5 pictures on the way" in out
    ends = [undiffuse.load(pictures_run).sample(1, seed=seed, steps=3) for seed in (1, 2)]
    x = torch.tensor(np.load("x.npy")).int()
    assert all((end.int() - frame).abs().max() <= 1 for end, frame in zip(ends, (x[0], x[-1]), strict=True))
    for sampler in ("ddim", "ddpm"):  # fresh noise is the same in every frame
        words = ["--seeds", "1,1", "--steps", "3", "-n", "4", "--sampler", sampler, "--out", f"{sampler}.npy"]
        assert run("interpolate", pictures_run, *words)[0] == 0
        same = np.load(f"{sampler}.npy").astype(int)
        assert abs(same - same[0]).max() <= 1
    words = ["--files", "a.png,b.png", "--steps", "8", "--refine", "6", "-n", "3", "--out", "y.npy"]
    assert run("interpolate", pictures_run, *words)[0] == 0
    assert np.abs(np.load("y.npy")[0].astype(float) - picture[0].numpy()).mean() < 6


def test_pictures_of_another_size_or_colour_are_fitted_only_if_that_is_asked(run, pictures_run, picture):
    words = ["sample", pictures_run, "--steps", "3", "--out", "x.npy", "--force", "--init-picture"]
    for name, said in (("large", "16 x 16 pixels, and this run makes 8 x 8"), ("colour", "in colour, and this run")):
        code, _, err = run(*words, f"{name}.png")
        assert code == 1 and said in err and "add --fit" in err
        assert run(*words, f"{name}.png", "--fit")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sample", "RUN", "--strength", ".5"], 2, "--strength says how far --init-picture FILE is noised"),
        (["sample", "RUN", "--init-picture", "a.png", "--strength", "0"], 2, "strength is above 0"),
        (["sample", "RUN", "--init-picture", "a.png", "--strength", "1.5"], 2, "at most 1 (all noise), not 1.5"),
        (["sample", "RUN", "--init-picture", "a.png", "--noise", "n.npz"], 2, "give --init-picture or --noise"),
        (["sample", "RUN", "--init-picture", "gone.png"], 1, "gone.png: no such file"),
        (["sample", "RUN", "--noise", "gone.npz"], 1, "gone.npz: no such file"),
        (["sample", "RUN", "--noise", "a.png"], 1, "not the noise that undiffuse invert writes"),
        (["invert", "RUN", "a.png", "--steps", "1"], 1, "one step"),
        (["invert", "RUN", "a.png", "--refine", "-1"], 1, "refine must be at least 0"),
        (["invert", "RUN", "a.png", "--out", "x.png"], 1, "x.png"),
        (["interpolate", "RUN"], 2, "say between what: --seeds 1,2, or --files"),
        (["interpolate", "RUN", "--seeds", "1,2", "--files", "a.png"], 2, "say between what"),
        (["interpolate", "RUN", "--seeds", "1"], 1, "at least two ends"),
        (["interpolate", "RUN", "--seeds", "1,2,3", "-n", "2"], 1, "at least 3 frames, not 2"),
        (["interpolate", "RUN", "--files", "a.png,b.png", "--sampler", "heun"], 2, "inverted by ddim, not heun"),
    ],
)
def test_mistakes(run, pictures_run, picture, words, code, said):
    found, out, err = run(*(pictures_run if word == "RUN" else word for word in words))
    assert (found, out) == (code, "") and said in err and err.count("\n") == 1


def test_noise_of_another_model_is_cautioned_or_refused(run, pictures_run, points_run, picture):
    assert run("invert", pictures_run, "a.png", "--steps", "2")[0] == 0
    code, _, err = run("sample", points_run, "--noise", "noise.npz")
    assert code == 1 and "noise of shape 1 x 8 x 8, and what diffuses in this run is 2" in err
    with np.load("noise.npz") as found:
        np.savez("other.npz", **(dict(found) | {"model": "other"}))
    code, _, err = run("sample", pictures_run, "--noise", "other.npz", "--steps", "2")
    assert code == 0 and "the noise of another model" in err
