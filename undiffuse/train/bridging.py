"""What a bridge minimises, as one module: rows of both of its ends go in, the loss of the batch comes out."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from undiffuse.codec import Codec
from undiffuse.condition.conditions import Conditions
from undiffuse.condition.label import combined
from undiffuse.core.errors import UserError
from undiffuse.core.modules import modules
from undiffuse.core.noise import Stream
from undiffuse.data.dataset import Dataset
from undiffuse.denoiser.bridge import BridgeDenoiser
from undiffuse.loss.coupling import AsGiven, Coupling, within
from undiffuse.process.pinned import StoredRows
from undiffuse.recipe.model import Bridge
from undiffuse.recipe.recipe import Recipe


class Bridging(nn.Module):
    """objective(x, start, conditions) -> the mean loss of a batch, ().

    Args:
        denoiser: What learns.
        loss: loss(denoiser, x_0, x_1, noise, conditions) -> (batch,).
        codec: Of both ends.
        bf16: Whether the network computes in bfloat16.
        pairs: Which rows of both ends go together; only rows of the same labels do.
        dropout: As of `undiffuse.train.objective.Objective`. A network that is told x_1 loses it with the conditions
            that go across: guidance does without both.
        dropout_of_each: As there.
    """

    def __init__(
        self,
        denoiser: BridgeDenoiser,
        loss: Callable[..., Tensor],
        codec: Codec,
        bf16: bool = False,
        pairs: Coupling | None = None,
        dropout: float = 0.0,
        dropout_of_each: float = 0.0,
    ) -> None:
        super().__init__()
        self.pairs, self.dropout, self.dropout_of_each = pairs or AsGiven(), dropout, dropout_of_each
        self.denoiser, self.loss, self.codec = denoiser, loss, codec.requires_grad_(False)
        learning = () if isinstance(loss, nn.Module) else modules(loss)
        self.parts = nn.ModuleList([*modules(denoiser.process), *learning])
        self.bf16 = bf16
        self.noise = Stream()  # of several processes, each has its own

    @property
    def model(self) -> BridgeDenoiser:
        """The denoiser."""
        return self.denoiser

    def forward(self, x: Tensor, start: Tensor | None, conditions: Conditions | None = None) -> Tensor:
        """Rows of the end and of the start, (batch, *shape) as they are stored, and what is true of both; None draws a
        start of noise.

        Random numbers: torch's global generator.
        """
        x_0 = self.codec.encode(x)
        x_1 = self.noise.normal(x_0) if start is None else self.codec.of_start().encode(start)
        x_1 = x_1[within(self.pairs, x_0, x_1, self.noise, groups(conditions))]
        told = self.denoiser.told(x_1, None if conditions is None else conditions.varied(self.noise))
        if conditions is not None and told is not None:
            told = told.drop(self.noise, self.dropout, self.dropout_of_each)
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(self.denoiser, x_0, x_1, self.noise, told).mean()


def groups(conditions: Conditions | None) -> Tensor | None:
    """A number for each row, (batch,), the same for rows of the same labels; None without labels."""
    labels = [values for values, _ in conditions.entries.values() if values.ndim == 1] if conditions else []
    return torch.unique(torch.stack(labels, 1), dim=0, return_inverse=True)[1] if labels else None


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
        labels, _ = combined(data.start.labels, data.start.label_names)
        rows.fill(start.encode(data.start.x), recipe.training.seed, labels)
    training, method = recipe.training, cast(Bridge, recipe.model).loss
    loss, bf16 = method.begin(denoiser, training.steps), training.precision == "bf16"
    dropout = (training.condition_dropout, training.each_dropout)
    return Bridging(denoiser, loss, codec, bf16, method.pairs, *dropout)
