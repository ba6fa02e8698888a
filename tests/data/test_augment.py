"""Pictures are changed as it says, and the network is told exactly what was done to which."""

import numpy as np
import pytest
import torch
from PIL import Image

from undiffuse.cli.program import main
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Stream
from undiffuse.data.augment import AUGMENTATIONS, TOLD, Crop, Flip, Rotate, Shift, augmented, told
from undiffuse.data.ready import Digits
from undiffuse.net.unet import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.run.folder import load
from undiffuse.train.loop import resume, train

EVERY = tuple(AUGMENTATIONS)


def noise(seed=0):
    return Stream(torch.Generator().manual_seed(seed))


def numbers(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def photographs(count=4, channels=3, height=16, width=24):
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)


def test_what_each_does_is_known():
    x = photographs().float()
    assert torch.equal(Flip()(x, torch.empty(4, 0)), x.flip(-1))
    by = numbers([1, 1], [-1, 0], [0, 0], [0.5, -1])
    moved = Shift(1 / 8)(x, by)  # 2 rows and 3 columns at most
    assert torch.equal(moved[0, :, 2:, 3:], x[0, :, :-2, :-3]) and torch.equal(moved[2], x[2])
    assert torch.equal(moved[1, :, :-2], x[1, :, 2:]) and torch.equal(moved[0, :, 1, 3:], x[0, :, 0, :-3])  # mirrored
    square = photographs(1, 1, 9, 9).float()
    assert torch.allclose(Rotate(90)(square, numbers([1])), square.rot90(1, (2, 3)), atol=1e-3)
    oblong = torch.zeros(1, 1, 9, 17).index_fill(2, torch.tensor([4]), 255.0)
    assert Rotate(90)(oblong, numbers([1]))[0, 0, :, 8].min() > 254  # a row becomes a column, as wide
    half = Crop(0.5)(x, numbers(*[[1, -1, -1]] * 4))
    expected = torch.nn.functional.interpolate(x[..., :8, :12], scale_factor=2, mode="bilinear")
    assert torch.allclose(half[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_chosen_is_as_it_was_and_nothing_is_said_of_it(name):
    x = photographs(64)
    made, said = augmented(x, [name], 0.5, noise())
    changed = (made != x).flatten(1).any(1)
    assert made.dtype == torch.uint8 and made.shape == x.shape
    assert 16 < int(said.present.sum()) < 48 and not changed[~said.present].any()
    assert changed[said.present].float().mean() > 0.9
    assert said.values.shape == (64, told([name]).width) and not said.values[~said.present].any()
    again, also = augmented(x, [name], 0.5, noise())
    assert torch.equal(made, again) and torch.equal(said.values, also.values)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_channels_and_numbers_of_any_range(channels):
    x = torch.randn(3, channels, 5, 7) * 1e3
    made, said = augmented(x, EVERY, 1.0, noise())
    assert made.shape == x.shape and made.dtype == x.dtype and made.isfinite().all() and said.present.all()


def recipe(**training):
    plain = {"steps": 4, "batch": 8, "save_every": 2, "report_every": 100, "seed": 3}
    return Recipe(Digits(), GaussianDiffusion(UNet(width=8, multiples=(1,))), training=Training(**(plain | training)))


def test_the_network_is_told_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    how = {"augment": ("shift", "cutout"), "augment_share": 0.5}
    whole = train(recipe(**how), tmp_path / "whole", quiet=True)
    assert TOLD in whole.denoiser.encoder.names and TOLD not in whole.specifications
    train(recipe(**how, decay="constant", warmup=0), tmp_path / "one", quiet=True)
    train(recipe(**how, decay="constant", warmup=0).changed(steps=2), tmp_path / "two", quiet=True)
    longer = resume(tmp_path / "two", quiet=True, steps=4)
    for mine, other in zip(longer.denoiser.parameters(), load(tmp_path / "one").denoiser.parameters(), strict=True):
        assert torch.equal(mine, other)
    entry = longer.denoiser.encoder.entries[longer.denoiser.encoder.names.index(TOLD)]
    assert entry.linear.weight.shape[1] == told(how["augment"]).width
    assert longer.draw(2).x.shape == (2, 1, 8, 8)  # asked for no augmentation


def test_it_need_not_be_told(tmp_path):
    run = train(recipe(augment=("flip",), augment_told=False, steps=1), tmp_path / "run", quiet=True)
    assert TOLD not in run.denoiser.encoder.names


@pytest.mark.parametrize(
    ("how", "words"),
    [({"augment": ("shift", "shift")}, "each named once"), ({"augment_share": 0.0}, "above 0 and at most 1")],
)
def test_what_is_refused(how, words):
    with pytest.raises(UserError, match=words):
        Training(**how)


def test_the_command_line_shows_them(tmp_path, capsys):
    dice = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"{k}.png")
    out = tmp_path.parent / "augmented.npy"
    command = ["data", str(tmp_path), "--split", "all", "--out", str(out), "--augment"]
    assert main([*command, "flip,cutout"]) == 0
    shown = np.load(out)
    assert shown.shape == (4, 3, 16, 16)
    assert main([*command, "flop", "--force"]) == 1
    assert "did you mean flip or crop?" in capsys.readouterr().err
