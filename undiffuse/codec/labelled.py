"""Pictures with their labels, as rows: the normalised pixels as numbers, and the label as one token.

A row is one float tensor (pixels + 1,), as `undiffuse.process.mixed.Mixed` has it. What is stored is the picture; its
label comes beside it, and a label that is not known is the mask, which is what the process loses labels to.
"""

import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undiffuse.codec.normalise import Normalise
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.data.dataset import Dataset
from undiffuse.process.mixed import RowShape


class LabelledCodec(nn.Module):
    """Between uint8 pictures (batch, channels, height, width) and rows (batch, pixels + 1) float32.

    Args:
        shape: Of one picture.
        classes: How many labels there are.
    """

    kind = "pictures"

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        self.normalise = Normalise("pictures", self.shape)

    @property
    def latent_shape(self) -> RowShape:
        """A number for every pixel and channel, and a token."""
        return RowShape(torch.Size(self.shape).numel(), (self.classes,))

    def look(self, x: Tensor) -> Tensor:
        """The picture itself."""
        return x

    def draw(self, looked: Tensor, noise: Noise | None = None) -> Tensor:
        """Nothing is random here."""
        return self.encode(looked)

    def encode(self, x: Tensor) -> Tensor:
        """Rows of pictures whose labels are not known; `undiffuse.denoiser.mixed.with_label` tells them."""
        pixels = self.normalise.encode(x).flatten(1)
        return torch.cat([pixels, pixels.new_full((len(x), 1), self.classes)], 1)

    def decode(self, z: Tensor) -> Tensor:
        """The pictures of rows, uint8."""
        return self.normalise.decode(z[:, :-1].unflatten(1, self.shape))

    def label(self, z: Tensor) -> Tensor:
        """The labels of rows, (batch,) int64; -1 where it is not known."""
        label = z[:, -1].long()
        return label.masked_fill(label == self.classes, -1)

    def facts(self) -> str:
        """All that it takes to make an empty one, but the shape, as JSON."""
        return json.dumps({"classes": self.classes})


@dataclass(frozen=True)
class Labelled:
    """Pictures and their labels diffuse together."""

    def restore(self, shape: tuple[int, ...], facts: str) -> LabelledCodec:
        """The codec that a file speaks of, to be loaded."""
        return LabelledCodec(shape, json.loads(facts)["classes"])

    def measure(self, data: Dataset) -> LabelledCodec:
        """The codec of this data. Raises UserError for data that is no pictures, or without one kind of label."""
        if data.kind != "pictures" or not data.label_names or isinstance(data.label_names, dict):
            has = "no pictures" if data.kind != "pictures" else "several labels each" if data.label_names else "none"
            raise UserError(f"{data.name}: pictures with one label each are wanted here, and it has {has}")
        codec = LabelledCodec(data.shape, len(data.label_names))
        codec.normalise = Normalise.measure(data)
        return codec
