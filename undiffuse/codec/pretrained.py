"""An autoencoder that somebody else trained: diffusers' ``AutoencoderKL``, from a folder.

It is not trained here, only measured: the latents of this data are standardised, which makes its ``scaling_factor``
and ``shift_factor`` (one number each, measured on other data) unnecessary. The extra ``diffusers``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from undiffuse.codec.codec import Encoding
from undiffuse.codec.normalise import pixels
from undiffuse.codec.vae import VAE
from undiffuse.core.errors import UserError
from undiffuse.core.paths import path_of
from undiffuse.data.dataset import Dataset
from undiffuse.pipeline.parts import module


@dataclass(frozen=True)
class Pretrained(Encoding):
    """The ``AutoencoderKL`` in a folder that diffusers' ``save_pretrained`` wrote, or in its subfolder vae."""

    kinds: ClassVar[tuple[str, ...]] = ("pictures",)
    path: str

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> VAE:
        """The codec, not yet measured. Raises UserError if there is none, or if it takes other pictures."""
        self.check_kind(kind)
        autoencoder = _loaded(path_of(self.path))
        return autoencoding(autoencoder, shape, self.path).requires_grad_(False)

    def measure(self, data: Dataset, device: torch.device | None = None) -> VAE:
        """The codec, its latents measured on this data: on ``device``, if given, as all rows are encoded for it."""
        codec = self.build(data.kind, data.shape).to(device).eval()
        codec.measure_latents(data.x)
        return codec


def autoencoding(autoencoder: Any, shape: tuple[int, ...], where: str = "this autoencoder") -> VAE:
    """The codec of pictures of ``shape`` around diffusers' module. Raises UserError if it takes other pictures."""
    factor, channels = factor_of(autoencoder), autoencoder.config.in_channels
    if shape[0] != channels or any(side % factor for side in shape[1:]):
        raise UserError(
            f"{where}: takes pictures of {channels} channels whose height and width are multiples of "
            f"{factor}, not data of shape {tuple(shape)}; give --data.size"
        )
    latent = (autoencoder.config.latent_channels, shape[1] // factor, shape[2] // factor)
    return VAE(pixels(shape), _Encoder(autoencoder), _Decoder(autoencoder, shape), latent)


def factor_of(autoencoder: Any) -> int:
    """How many pixels there are for each place of the latents, in each direction."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


class _Encoder(nn.Module):
    """Means and log-variances."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.encoder, self.quant_conv = autoencoder.encoder, autoencoder.quant_conv

    def forward(self, x: Tensor) -> Tensor:
        moments: Tensor = self.encoder(x)
        return moments if self.quant_conv is None else self.quant_conv(moments)


class _Decoder(nn.Module):
    """Pictures in [-1, 1]; an empty batch gives an empty one, since diffusers' attention refuses it."""

    def __init__(self, autoencoder: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.decoder, self.post_quant_conv = autoencoder.decoder, autoencoder.post_quant_conv

    def forward(self, z: Tensor) -> Tensor:
        if not len(z):
            return z.new_empty(0, *self.shape)
        picture: Tensor = self.decoder(z if self.post_quant_conv is None else self.post_quant_conv(z))
        return picture


def _loaded(path: Path) -> Any:
    """Diffusers' module."""
    folder = path if (path / "config.json").is_file() else path / "vae"
    if not (folder / "config.json").is_file():
        raise UserError(f"{path}: holds no autoencoder (no config.json, nor vae/config.json)")
    return module("diffusers", "AutoencoderKL", folder)
