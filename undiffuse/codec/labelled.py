"""Pictures with their labels, as rows: the normalised pixels as numbers, and the label as one token.

A row is one float tensor (pixels + 1,), as `undiffuse.process.mixed.Mixed` has it. What is stored is the picture; its
label comes beside it. An unknown label is the mask, as is a label that the process has lost.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.codec.codec import Codec, Encoding, Entries
from undiffuse.codec.normalise import Normalise
from undiffuse.condition.read import LABEL
from undiffuse.core.configuration import from_json
from undiffuse.core.errors import UserError
from undiffuse.core.noise import Noise
from undiffuse.data.dataset import Dataset
from undiffuse.process.mixed import RowShape


class LabelledCodec(Codec):
    """Between uint8 pictures (batch, channels, height, width) and rows (batch, pixels + 1) float32.

    Args:
        shape: Of one picture.
        classes: How many labels there are.
    """

    kind = "pictures"
    draws_label = True
    no_likelihood = "of numbers beside tokens the likelihood is not measured"

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        self.normalise = Normalise("pictures", self.shape)

    @property
    def latent_shape(self) -> RowShape:
        """A number for every pixel and channel, and a token: the condition, which is drawn too."""
        return RowShape(torch.Size(self.shape).numel(), (self.classes,), (LABEL,))

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Rows of pictures whose labels are not known; `MixedDenoiser.joined` puts them in."""
        pixels = self.normalise.encode(x).flatten(1)
        return torch.cat([pixels, pixels.new_full((len(x), 1), self.classes)], 1)

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """Pixels that are known, and a label that is not."""
        return Entries(self.encode(x), F.pad(known.flatten(1), (0, 1)))

    def decode(self, z: Tensor) -> Tensor:
        """The pictures of rows, uint8."""
        return self.normalise.decode(z[:, :-1].unflatten(1, self.shape))

    def label(self, z: Tensor) -> Tensor:
        """The labels of rows, (batch,) int64; -1 where it is not known."""
        label = z[:, -1].long()
        return label.masked_fill(label == self.classes, -1)

    def facts(self) -> str:
        """All that an empty codec of this type needs except the shape, as JSON."""
        return json.dumps({"classes": self.classes})


@dataclass(frozen=True)
class Labelled(Encoding):
    """Pictures and their labels diffuse together."""

    kinds: ClassVar[tuple[str, ...]] = ("pictures",)

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> LabelledCodec:
        """The codec that a file describes, to be loaded. Raises UserError for an invalid description."""
        self.check_kind(kind)
        classes = from_json(dict[str, int], facts or "", "codec").get("classes", 0)
        if len(shape) != 3 or classes < 1:
            raise UserError(f"no pictures with labels, but {kind} of shape {shape} with {classes} labels")
        return LabelledCodec(shape, classes)

    def measure(self, data: Dataset) -> LabelledCodec:
        """The codec of this data. Raises UserError for data other than pictures, or without exactly one kind of
        label."""
        self.check_kind(data.kind)
        if not data.label_names or isinstance(data.label_names, dict):
            has = "several" if data.label_names else "none"
            raise UserError(f"{data.name}: pictures with one label each are wanted here, and it has {has}")
        codec = LabelledCodec(data.shape, len(data.label_names))
        codec.normalise = Normalise.measure(data)
        return codec
