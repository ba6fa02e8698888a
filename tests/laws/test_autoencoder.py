"""Autoencoders: their bound in closed form, and latents that are standard."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from undiffuse.codec import MLPVAE, VAE, ConvVAE, Normalise, Pretrained
from undiffuse.codec.vae import precomputed
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.data.own import Files
from undiffuse.data.readers.digits import digits
from undiffuse.net import UNet
from undiffuse.recipe.model import GaussianDiffusion
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipe.training import Training
from undiffuse.train.loop import resume, train


def small(shape=(1, 8, 8)) -> VAE:
    torch.manual_seed(0)
    return ConvVAE(latent=3, width=8, halvings=1).build("pictures", shape)


def test_the_loss_is_the_bound():
    """|x - x_hat|^2/2s^2 + KL: with KL by torch.distributions, and the same draw."""
    codec, x = small(), torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    m, v = codec.posterior(x)
    torch.manual_seed(1)
    z = m + (0.5 * v).exp() * torch.randn_like(m)
    divergence = kl_divergence(Normal(m, (0.5 * v).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
    error = (codec.decoder(z) - codec.pixels.encode(x)).square().flatten(1).sum(1)
    torch.manual_seed(1)
    torch.testing.assert_close(codec.loss(x, 0.5, 2.0), (error / 0.5 + 2 * divergence) / 64)


def test_the_best_linear_autoencoder_is_probabilistic_pca():
    """Of Gaussian data the bound is tight at Tipping and Bishop's solution: the loss is the exact -log p(x).

    p(x) = N(0, W W^T + s^2), q(z | x) = N(M^-1 W^T x, s^2 M^-1), M = W^T W + s^2, diagonal for orthogonal W.
    """
    torch.manual_seed(0)
    s, count = 0.5, 200_000
    directions, _ = torch.linalg.qr(torch.randn(4, 2))
    w = directions * torch.tensor([1.5, 0.8])
    x = torch.randn(count, 2) @ w.T + s * torch.randn(count, 4)
    m = (w.T @ w).diagonal() + s**2
    encoder, decoder = nn.Linear(4, 4), nn.Linear(2, 4, bias=False)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:2] = w.T / m[:, None]
        encoder.bias.copy_(torch.cat([torch.zeros(2), (s**2 / m).log()]))
        decoder.weight.copy_(w)
    codec = VAE(Normalise("points", (4,)), encoder, decoder, (2,))
    law = torch.distributions.MultivariateNormal(torch.zeros(4), w @ w.T + s**2 * torch.eye(4))
    constants = 2 * math.log(2 * math.pi * s**2)  # of p(x | z), which the loss leaves out
    losses = 4 * codec.loss(x, s, 1.0).detach() + constants
    assert float(losses.mean()) == pytest.approx(float(-law.log_prob(x).mean()), abs=0.02)
    with torch.no_grad():
        decoder.weight.mul_(0.9)
    assert float((4 * codec.loss(x, s, 1.0) + constants).mean()) > float(-law.log_prob(x).mean()) + 0.02


@pytest.mark.parametrize("design", [MLPVAE(latent=5, hidden=(32,)), ConvVAE(latent=3, width=8, halvings=1)])
def test_measured_latents_are_standard(design):
    torch.manual_seed(0)
    data = digits()
    codec = design.measure(data)
    codec.measure_latents(data.x)
    looked = precomputed(codec, data.x)
    z = torch.cat([codec.latent(looked) for _ in range(20)])
    axes = [axis for axis in range(z.ndim) if axis != 1]
    torch.testing.assert_close(z.mean(axes), torch.zeros(z.shape[1]), atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(axes), torch.ones(z.shape[1]), atol=0.02, rtol=0)
    assert z.shape[1:] == codec.latent_shape and codec.decode(z[:3]).dtype == torch.uint8


def test_what_is_decoded_does_not_depend_on_the_units_of_latents():
    data = digits()
    codec = small().eval()
    z = torch.randn(2, 3, 4, 4)
    before = codec.decode(z)
    codec.measure_latents(data.x)
    torch.testing.assert_close(codec.decode(codec.latents.encode(z)).float(), before.float(), atol=1, rtol=0)


def test_a_codec_learns_to_give_back_what_it_got():
    torch.manual_seed(0)
    data = digits()
    codec = MLPVAE(latent=16, hidden=(128,)).measure(data)
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    for _ in range(400):
        loss = codec.loss(data.x[torch.randint(len(data), (128,))], 0.3, 0.1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codec.measure_latents(data.x)
    error = (codec.decode(codec.encode(data.x)).float() - data.x.float()).square().mean().sqrt() / codec.pixels.std
    assert float(error) < 0.5  # in standard deviations of the pixels


def test_sizes_that_do_not_divide_are_named():
    with pytest.raises(UserError, match=r"multiples of 4, not data of shape \(1, 10, 8\).*halvings 0 to 1"):
        ConvVAE(halvings=2).build("pictures", (1, 10, 8))


def somebody_elses(folder):
    """A tiny AutoencoderKL of diffusers', and saved in a folder."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.3,
    ).eval()
    theirs.save_pretrained(folder / "vae")
    return theirs


def test_a_pretrained_autoencoder_is_a_codec(tmp_path):
    theirs = somebody_elses(tmp_path)
    x = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    codec = Pretrained(str(tmp_path)).measure(Dataset(x, kind="pictures"))
    assert codec.latent_shape == (4, 4, 4)
    law = theirs.encode(x.float() / 127.5 - 1).latent_dist
    mean, std = codec.precompute(x).unbind(1)
    torch.testing.assert_close(codec.latents.decode(mean), law.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(std * codec.latents.std, law.std, rtol=1e-4, atol=1e-5)
    decoded = (theirs.decode(law.mean).sample * 127.5 + 127.5).round().clamp(0, 255)
    torch.testing.assert_close(codec.decode(mean).float(), decoded, atol=1, rtol=0)
    assert codec.decode(mean[:0]).shape == (0, 3, 8, 8)
    for shape, says in (((3, 9, 8), "multiples of 2"), ((1, 8, 8), "3 channels")):
        with pytest.raises(UserError, match=says):
            Pretrained(str(tmp_path)).build("pictures", shape)
    with pytest.raises(UserError, match="holds no autoencoder"):
        Pretrained(str(tmp_path / "nothing")).build("pictures", (3, 8, 8))


def test_a_pretrained_autoencoder_is_measured_once_a_run(tmp_path, monkeypatch):
    somebody_elses(tmp_path)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
    recipe = Recipe(
        Files(str(tmp_path / "x.npy")),
        codec=Pretrained(str(tmp_path)),
        model=GaussianDiffusion(UNet(width=8, embedding=8)),
        training=Training(steps=2, batch=4),
    )
    run = train(recipe, tmp_path / "run", quiet=True)
    monkeypatch.setattr(VAE, "measure_latents", None)
    again = resume(tmp_path / "run", quiet=True)
    for name, value in run.codec.state_dict().items():
        assert torch.equal(again.codec.state_dict()[name], value), name
    assert float(again.codec.latents.std.min()) > 0 and not torch.equal(again.codec.latents.std, torch.ones(4, 1, 1))
