"""A pipeline of diffusers as our parts: a denoiser, a codec, conditions, and how to sample by default.

`PIPELINES` says for each class of pipeline which part is its network, and how that is told what is asked of it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undiffuse.codec.normalise import Normalise, pixels
from undiffuse.codec.pretrained import autoencoding, factor_of
from undiffuse.codec.vae import VAE
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.specification import Specifications
from undiffuse.core.errors import UserError, nearest
from undiffuse.core.linear import Number
from undiffuse.denoiser.gaussian import Denoiser
from undiffuse.pipeline.conditions import (
    Asking,
    ByLabel,
    ByWords,
    ClipEncoder,
    ThreeEncoders,
    TwoEncoders,
    Unconditional,
    label_names,
)
from undiffuse.pipeline.network import NETWORKS, DiffusersNet
from undiffuse.pipeline.parts import Parts
from undiffuse.pipeline.scheduler import Scheduler, scheduler_of
from undiffuse.sampling.sampling import Sampling

AUTOENCODER = "AutoencoderKL"


class TimestepDenoiser(Denoiser):
    """A denoiser whose network is told the number of a timestep, not the log-SNR, and x_t unscaled.

    Args:
        net: Of diffusers.
        scheduler: Its process, what it predicts, and by which numbers it is told the time.
        told: How it is told what is asked.
    """

    def __init__(self, net: DiffusersNet, scheduler: Scheduler, told: Asking) -> None:
        super().__init__(net, scheduler.process, scheduler.prediction, net.learns_variance)
        self.shape, self.numbering, self.told = net.shape, scheduler.numbering, told

    def answer(self, x_t: Tensor, t: Number, conditions: Conditions | None = None) -> Tensor:
        """Of the network, (batch, channels or twice as many, height, width)."""
        timestep = torch.as_tensor(self.numbering(t), dtype=torch.float32).to(x_t.device).expand(len(x_t))
        y: Tensor = self.net(x_t, timestep, self.told(conditions, len(x_t)))
        return y


class Opened(NamedTuple):
    """A pipeline, read."""

    denoiser: TimestepDenoiser
    scheduler: Scheduler
    codec: Normalise | VAE
    sampling: Sampling  # as diffusers would, by default

    @property
    def specifications(self) -> Specifications:
        """Its conditions, by name."""
        return self.denoiser.told.specifications


def read(parts: Parts) -> Opened:
    """The parts of a pipeline.

    Raises:
        UserError: An unknown class of pipeline, network or scheduler, naming those that are known; a part that is
            missing, damaged or pickled; a network that is also told a picture.
    """
    kind = str(parts.index.get("_class_name"))
    if kind not in PIPELINES:
        raise UserError(f"{parts.where}: {nearest(kind, PIPELINES, 'pipeline of diffusers')}")
    anatomy = PIPELINES[kind]
    for name in (anatomy.network, "scheduler", *(["vae"] if anatomy.latent else [])):
        if not parts.has(name):
            raise UserError(f"{parts.where}: incomplete, model_index.json names no {name}")
    network = str(parts.index[anatomy.network][1])
    if network not in NETWORKS:
        raise UserError(f"{parts.where / anatomy.network}: {nearest(network, NETWORKS, 'network of diffusers')}")
    vae = _autoencoder(parts) if anatomy.latent else None
    net = NETWORKS[network](parts.module(anatomy.network), 1 if vae is None else factor_of(vae))
    try:
        channels, height, width = net.shape
        scheduler = scheduler_of(parts.settings("scheduler"), net.places)
        denoiser = TimestepDenoiser(net, scheduler, anatomy.told(parts, net))
    except UserError as error:
        raise UserError(f"{parts.where}: {error}") from None
    if vae is None:
        codec: Normalise | VAE = pixels((channels, height, width), parts.beside.get("mean"), parts.beside.get("std"))
    else:
        codec = autoencoding(vae, (vae.config.in_channels, height * net.factor, width * net.factor))
        codec.latents.mean.fill_(vae.config.shift_factor or 0.0)
        codec.latents.std.fill_(1 / vae.config.scaling_factor)
    sampling, guidance = scheduler.sampling, scheduler.sampling.guidance
    if denoiser.told.droppable:
        guidance = replace(guidance, weight=anatomy.guidance)
    return Opened(denoiser, scheduler, codec, replace(sampling, guidance=guidance))


def _autoencoder(parts: Parts) -> Any:
    kind = parts.index["vae"][1]
    if kind != AUTOENCODER:
        raise UserError(f"{parts.where / 'vae'}: {nearest(kind, [AUTOENCODER], 'autoencoder of diffusers')}")
    return parts.module("vae")


def _labels_if_any(parts: Parts, net: DiffusersNet) -> Asking:
    count, named = net.config.num_class_embeds, next(iter(parts.beside.get("labels", {}).values()), None)
    if not count:
        return Unconditional()
    return ByLabel(named or label_names(parts.index, count), droppable=named is not None)


def _labels(parts: Parts, net: DiffusersNet) -> Asking:
    return ByLabel(label_names(parts.index, net.config.num_embeds_ada_norm), droppable=True)


class Anatomy(NamedTuple):
    """What a class of pipeline consists of."""

    network: str  # its part
    latent: bool  # whether it has an autoencoder
    told: Callable[[Parts, DiffusersNet], Asking]
    guidance: float = 1.0  # scale, by default


_PLAIN = Anatomy("unet", False, _labels_if_any)
PIPELINES: dict[str, Anatomy] = {
    "DDPMPipeline": _PLAIN,
    "DDIMPipeline": _PLAIN,
    "PNDMPipeline": _PLAIN,
    "DiTPipeline": Anatomy("transformer", True, _labels, 4.0),
    "StableDiffusionPipeline": Anatomy("unet", True, lambda parts, net: ByWords(ClipEncoder(parts, net)), 7.5),
    "StableDiffusionXLPipeline": Anatomy("unet", True, lambda parts, net: ByWords(TwoEncoders(parts, net)), 5.0),
    "StableDiffusion3Pipeline": Anatomy(
        "transformer", True, lambda parts, net: ByWords(ThreeEncoders(parts, net)), 7.0
    ),
}
