"""Networks of diffusers, each asked in its own way: net(x, timestep, routes) -> what it predicts.

A network is told the number of a timestep, (batch,), and its conditions by two of our routes: a label, or one vector,
as ``vector``, and words as ``tokens``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from undiffuse.condition.routes import Routes, Widths
from undiffuse.core.errors import UserError


@dataclass(frozen=True)
class PipelineNet:
    """The network of a pipeline of diffusers, in a folder or a single file; it is trained elsewhere, and sampled here.

    Attributes:
        path: Where the pipeline lies.
    """

    path: str
    vector: ClassVar[int] = 0

    def build(self, shape: tuple[int, ...], routes: Widths, times: int = 1) -> nn.Module:
        """Raises UserError: it is opened, not built."""
        raise UserError(f"{self.path}: its network is sampled, not trained; choose one that is, such as --net unet")


class DiffusersNet(nn.Module):
    """A network of diffusers.

    Args:
        net: Its module.
        factor: Pixels for each place that diffuses, in each direction: those of its autoencoder.
    """

    def __init__(self, net: Any, factor: int = 1) -> None:
        super().__init__()
        self.net, self.config, self.factor = net, net.config, factor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what diffuses: (channels, height, width). Raises UserError where its settings do not say it."""
        size = self.config.sample_size
        if size is None:
            raise UserError("its config.json does not say how large its pictures are; write sample_size into it")
        height, width = (size, size) if isinstance(size, int) else size
        return self.config.in_channels, height, width

    @property
    def places(self) -> int:
        """Of the whole picture, as a transformer sees it."""
        return self.shape[1] * self.shape[2] // int(self.config.get("patch_size") or 1) ** 2

    @property
    def learns_variance(self) -> bool:
        """Whether it says the variance of a step too. Raises UserError for other channels, as of inpainting."""
        into, out = self.config.in_channels, self.config.out_channels or self.config.in_channels
        if out not in (into, 2 * into):
            raise UserError(
                f"its network takes {into} channels and makes {out}: it is told a picture too, for inpainting or "
                "variations, which is not known here"
            )
        return bool(out == 2 * into)

    def forward(self, x: Tensor, timestep: Tensor, routes: Routes) -> Tensor:
        """x (batch, channels, height, width) -> the same, or twice the channels."""
        raise NotImplementedError


class PlainUNet(DiffusersNet):
    """UNet2DModel: labels at most."""

    def forward(self, x: Tensor, timestep: Tensor, routes: Routes) -> Tensor:
        """Labels as indices."""
        if self.config.time_embedding_type == "learned":  # a table of whole numbers
            timestep = timestep.round().long()
        made: Tensor = self.net(x, timestep, class_labels=routes.vector).sample
        return made


class WordedUNet(DiffusersNet):
    """UNet2DConditionModel: words by cross-attention; SDXL's is told a pooled vector and its size, too."""

    def forward(self, x: Tensor, timestep: Tensor, routes: Routes) -> Tensor:
        """Tokens (batch, count, width)."""
        added = None
        if self.config.addition_embed_type == "text_time":
            height, width = (self.factor * side for side in x.shape[2:])
            size = torch.tensor([height, width, 0, 0, height, width], dtype=x.dtype, device=x.device)
            added = {"text_embeds": routes.vector, "time_ids": size.expand(len(x), -1)}
        made: Tensor = self.net(x, timestep, encoder_hidden_states=routes.tokens, added_cond_kwargs=added).sample
        return made


class LabelledTransformer(DiffusersNet):
    """DiTTransformer2DModel: a label in every block."""

    def forward(self, x: Tensor, timestep: Tensor, routes: Routes) -> Tensor:
        """Labels as indices."""
        made: Tensor = self.net(x, timestep=timestep, class_labels=routes.vector).sample
        return made


class JointTransformer(DiffusersNet):
    """SD3Transformer2DModel: words and picture in one attention, and a pooled vector."""

    def forward(self, x: Tensor, timestep: Tensor, routes: Routes) -> Tensor:
        """Tokens (batch, count, width) and a vector."""
        made: Tensor = self.net(
            hidden_states=x, timestep=timestep, encoder_hidden_states=routes.tokens, pooled_projections=routes.vector
        ).sample
        return made


NETWORKS: dict[str, type[DiffusersNet]] = {
    "UNet2DModel": PlainUNet,
    "UNet2DConditionModel": WordedUNet,
    "DiTTransformer2DModel": LabelledTransformer,
    "Transformer2DModel": LabelledTransformer,  # DiT's former name
    "SD3Transformer2DModel": JointTransformer,
}
