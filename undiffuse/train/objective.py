"""What is minimised, as one module: data as it is stored goes in, the loss of the batch comes out.

It is one module because processes share it (accelerate wraps it) and a checkpoint holds it: the denoiser, the codec and
whatever the loss learns (a schedule, a distribution of t); or, before there is a denoiser, the codec alone. The weights
of its ``model`` are averaged.
"""

from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from undiffuse.codec import VAE, VQ, Codec
from undiffuse.codec.vae import Fit
from undiffuse.condition.conditions import Conditions, Entry
from undiffuse.condition.low import given_with_noise, pictures_with_noise
from undiffuse.condition.scale import with_drawn
from undiffuse.condition.specification import Numbers, Specifications
from undiffuse.core.errors import UserError
from undiffuse.core.modules import built, modules
from undiffuse.core.noise import Noise, Stream
from undiffuse.data import augment
from undiffuse.data.augment import augmented, with_told
from undiffuse.data.dataset import Dataset
from undiffuse.data.task import Task, entry_of
from undiffuse.loss.few_step import FewStepLoss, Teacher
from undiffuse.net.recompute import recompute
from undiffuse.recipe.recipe import Recipe


class Augment(NamedTuple):
    """Which augmentations, the share of pictures that each is applied to, and whether the network is told."""

    names: tuple[augment.Name, ...]
    share: float
    told: bool


class Objective(nn.Module):
    """objective(x, conditions) -> the mean loss of a batch, ().

    Args:
        denoiser: What learns.
        loss: loss(denoiser, x_0, noise, conditions) -> (batch,).
        codec: Between data and what diffuses.
        dropout: The share of rows, drawn one by one, whose conditions are dropped, all at once, so that the same
            network also learns to do without: what guidance steers away from.
        dropout_of_each: The share of single conditions that are also dropped, each independently, so that a sample can
            be asked for with only some of them.
        bf16: Whether the network computes in bfloat16.
        flip: Whether each picture is mirrored, left to right, with probability 1/2.
        scales: The guidance scale, where each row draws one as a further condition.
        change: What else is done to pictures; see `undiffuse.data.augment`.
        specifications: Of the conditions, of which some pictures are given with noise.
        task: What makes the one condition of the pictures, after they are changed.
    """

    def __init__(
        self,
        denoiser: Any,
        loss: Any,
        codec: Codec,
        dropout: float = 0.0,
        bf16: bool = False,
        dropout_of_each: float = 0.0,
        flip: bool = False,
        scales: Numbers | None = None,
        change: Augment | None = None,
        specifications: Specifications = MappingProxyType({}),
        task: Task | None = None,
    ) -> None:
        super().__init__()
        self.denoiser, self.loss, self.codec = denoiser, loss, codec.requires_grad_(False)
        inner = [] if isinstance(loss, nn.Module) else modules(loss)  # a module is registered as it is
        self.parts = nn.ModuleList([*modules(denoiser.process), *inner])
        self.dropout, self.dropout_of_each, self.bf16 = dropout, dropout_of_each, bf16
        self.noise = Stream()  # of several processes, each has its own
        self.flip, self.scales, self.change, self.task = flip, scales, change, task
        self.specifications, self.noisy = specifications, pictures_with_noise(specifications)

    @property
    def model(self) -> Any:
        """The denoiser."""
        return self.denoiser

    def forward(self, x: Tensor, conditions: Conditions | None = None) -> Tensor:
        """x (batch, ...), as the codec's `precompute` returns it, and its conditions.

        Random numbers: torch's global generator.
        """
        x, told = self._changed(x)
        x_0 = self.codec.latent(x, self.noise)
        if self.task is not None:
            conditions = Conditions({self.task.condition: entry_of(self.task, x, self.noise)})
        if conditions is not None:
            shares = self.dropout, self.dropout_of_each
            conditions = conditions.varied(self.noise).drop(self.noise, *shares, kept=self.noisy)
            conditions = with_drawn(conditions, self.noise) if self.scales else conditions
            conditions = given_with_noise(self.specifications, conditions, self.noise)
        if told is not None:
            conditions = with_told(conditions, told)  # never dropped: without it, a picture is as it was
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(self.denoiser, x_0, self.noise, conditions).mean()

    def _changed(self, x: Tensor) -> tuple[Tensor, Entry | None]:
        """Flipped, augmented, and what the network is told of it."""
        x = mirrored(x, self.noise) if self.flip else x
        if self.change is None:
            return x, None
        x, told = augmented(x, self.change.names, self.change.share, self.noise)
        return x, told if self.change.told else None


def denoising(recipe: Recipe, codec: Codec, data: Dataset, teacher: Teacher | None = None) -> Objective:
    """What a recipe minimises on data that a codec encodes; the network is initialised from torch's seed.

    A ``teacher`` is for a model of few steps, whose method may need one.
    """
    denoiser = recipe.denoiser(codec.latent_shape, recipe.specifications(data.specifications))
    training, loss = recipe.training, built(recipe.model.loss)
    if isinstance(loss, FewStepLoss):
        loss.check_batch(training.batch)
        loss = loss.begin(denoiser, teacher, training.steps)
    for name in ("flip", "augment"):
        if getattr(training, name) and not (codec.in_place and len(codec.shape) == 3):
            what = "changes pictures as they diffuse: not points, tables or latents"
            raise UserError(f"{name} {what}; leave --{name} out")
        if getattr(training, name) and recipe.stages:
            raise UserError(f"{name} changes pictures and not what their stages made of them; leave --{name} out")
    if training.augment and isinstance(loss, FewStepLoss):
        raise UserError("augment is not for few steps, whose teacher knows no augmentation; leave --augment out")
    if data.task is not None and not codec.in_place:
        raise UserError("a task is of pictures as they diffuse, not of their latents or tokens; leave --task out")
    if training.recompute:
        recompute(denoiser.net)
    bf16, dropout, each = training.precision == "bf16", training.condition_dropout, training.each_dropout
    told = augment.TOLD in recipe.inputs({})
    change = Augment(training.augment, training.augment_share, told) if training.augment else None
    how = dropout, bf16, each, training.flip, recipe.scales, change, data.specifications, data.task
    return Objective(denoiser, loss, codec, *how)


class Autoencoding(nn.Module):
    """objective(x) -> the mean loss of a batch, (): a codec that is trained before anything diffuses."""

    def __init__(self, codec: VAE | VQ, fit: Fit, bf16: bool = False) -> None:
        super().__init__()
        self.codec, self.fit, self.bf16 = codec.requires_grad_(True), fit, bf16
        self.noise = Stream()

    @property
    def model(self) -> VAE | VQ:
        """The codec."""
        return self.codec

    def forward(self, x: Tensor, conditions: Conditions | None = None) -> Tensor:
        """x (batch, *shape) as it is stored; conditions do not matter. Random numbers: torch's global generator."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return self.codec.loss(x, self.fit.deviation, self.fit.kl, self.noise).mean()


def mirrored(x: Tensor, noise: Noise) -> Tensor:
    """Pictures (batch, channels, height, width), each mirrored left to right with probability 1/2."""
    chosen = noise.uniform(torch.empty(len(x), device=x.device)) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), x.flip(-1), x)
