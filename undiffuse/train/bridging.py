"""What a bridge minimises, as one module: rows of both of its ends go in, the loss of the batch comes out."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from undiffuse.codec import Codec
from undiffuse.core.errors import UserError
from undiffuse.core.modules import modules
from undiffuse.core.noise import Stream
from undiffuse.data.dataset import Dataset
from undiffuse.denoiser.bridge import BridgeDenoiser
from undiffuse.process.pinned import StoredRows
from undiffuse.recipe.model import Bridge
from undiffuse.recipe.recipe import Recipe


class Bridging(nn.Module):
    """objective(x, start) -> the mean loss of a batch, ().

    Args:
        denoiser: What learns.
        loss: loss(denoiser, x_0, x_1, noise) -> (batch,).
        codec: Of both ends.
        bf16: Whether the network computes in bfloat16.
    """

    def __init__(self, denoiser: BridgeDenoiser, loss: Callable[..., Tensor], codec: Codec, bf16: bool = False) -> None:
        super().__init__()
        self.denoiser, self.loss, self.codec = denoiser, loss, codec.requires_grad_(False)
        learning = () if isinstance(loss, nn.Module) else modules(loss)
        self.parts = nn.ModuleList([*modules(denoiser.process), *learning])
        self.bf16 = bf16
        self.noise = Stream()  # of several processes, each has its own

    @property
    def model(self) -> BridgeDenoiser:
        """The denoiser."""
        return self.denoiser

    def forward(self, x: Tensor, start: Tensor | None) -> Tensor:
        """Rows of the end and of the start, (batch, *shape) as they are stored; None draws a start of noise.

        Random numbers: torch's global generator.
        """
        x_0 = self.codec.encode(x)
        x_1 = self.noise.normal(x_0) if start is None else self.codec.of_start().encode(start)
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(self.denoiser, x_0, x_1, self.noise).mean()


def bridging(recipe: Recipe, codec: Codec, data: Dataset) -> Bridging:
    """What a recipe of a bridge minimises; the network is initialised from torch's seed, the rows that are kept with
    the model are drawn from the training's.

    Raises UserError for data that is not of two ends, or a codec that is not.
    """
    denoiser = cast(BridgeDenoiser, recipe.denoiser(codec.latent_shape, data.specifications))
    start, rows = codec.of_start(), denoiser.process.z
    if isinstance(rows, StoredRows) != (data.start is not None):
        from_, kept = ("data", "above 0") if data.start else ("noise", "0")
        raise UserError(f"a bridge from {from_} needs --kept {kept}, how many rows of it are stored with the model")
    for name in ("flip", "augment"):
        if getattr(recipe.training, name):
            raise UserError(f"{name} is not for bridges, whose two ends would be changed apart; leave --{name} out")
    if isinstance(rows, StoredRows) and data.start is not None:
        rows.fill(start.encode(data.start.x), recipe.training.seed)
    loss = cast(Bridge, recipe.model).loss.begin(denoiser, recipe.training.steps)
    return Bridging(denoiser, loss, codec, recipe.training.precision == "bf16")
