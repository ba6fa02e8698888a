"""An autoencoder that somebody else trained: diffusers' ``AutoencoderKL``, from a folder.

It is not trained here, only measured: the latents of this data are standardised, which makes its ``scaling_factor``
and ``shift_factor`` (one number each, measured on other data) unnecessary. The extra ``diffusers``.
"""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from undiffuse.codec.codec import Encoding
from undiffuse.codec.normalise import Normalise
from undiffuse.codec.vae import VAE
from undiffuse.core.errors import UserError, caution
from undiffuse.core.memory import require_network
from undiffuse.core.paths import path_of
from undiffuse.data.dataset import Dataset


@dataclass(frozen=True)
class Pretrained(Encoding):
    """The ``AutoencoderKL`` in a folder that diffusers' ``save_pretrained`` wrote, or in its subfolder vae."""

    kinds: ClassVar[tuple[str, ...]] = ("pictures",)
    path: str

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> VAE:
        """The codec, not yet measured. Raises UserError if there is none, or if it takes other pictures."""
        self.check_kind(kind)
        autoencoder = _loaded(path_of(self.path))
        factor = 2 ** (len(autoencoder.config.block_out_channels) - 1)
        channels = autoencoder.config.in_channels
        if shape[0] != channels or any(side % factor for side in shape[1:]):
            raise UserError(
                f"{self.path}: takes pictures of {channels} channels whose height and width are multiples of "
                f"{factor}, not data of shape {tuple(shape)}; give --data.size"
            )
        latent = (autoencoder.config.latent_channels, shape[1] // factor, shape[2] // factor)
        pixels = Normalise(kind, shape)  # to [-1, 1], as it was trained
        pixels.mean.fill_(127.5)
        pixels.std.fill_(127.5)
        return VAE(pixels, _Encoder(autoencoder), _Decoder(autoencoder, shape), latent).requires_grad_(False)

    def measure(self, data: Dataset, device: torch.device | None = None) -> VAE:
        """The codec, its latents measured on this data: on ``device``, if given, as all rows are encoded for it."""
        codec = self.build(data.kind, data.shape).to(device).eval()
        codec.measure_latents(data.x)
        return codec


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
    """Diffusers' module, in float32. Only safetensors are read."""
    folder = path if (path / "config.json").is_file() else path / "vae"
    if not (folder / "config.json").is_file():
        raise UserError(f"{path}: holds no autoencoder (no config.json, nor vae/config.json)")
    try:
        from diffusers import AutoencoderKL
        from diffusers.utils import logging
    except ImportError:
        raise UserError("a pretrained autoencoder needs diffusers: pip install 'undiffuse[diffusers]'") from None
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # what it would say is said here
    try:
        config = dict(AutoencoderKL.load_config(folder))
        known = signature(AutoencoderKL.__init__).parameters
        if ignored := [name for name in config if name not in known and not name.startswith("_")]:
            caution(f"{folder / 'config.json'}: {', '.join(ignored)}: not known of an autoencoder, and ignored")
        require_network(lambda: AutoencoderKL.from_config(config))
        model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True)
        if missing := [name for name, weight in model.state_dict().items() if weight.is_meta]:
            raise UserError(f"its weights lack {len(missing)} tensors, {missing[0]} first; is the file damaged?")
        return model
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    except Exception as error:  # of a stranger's settings, anything
        raise UserError(
            f"{folder}: no AutoencoderKL ({' '.join(str(error).split()) or type(error).__name__})"
        ) from None
    finally:
        logging.set_verbosity(before)
