"""The normalising codec: data of zero mean and unit standard deviation, measured once and undone exactly.

    encode: z = (x - mean) / std          decode: x = mean + std z

A diffusion's schedule assumes that data has a certain scale; this codec gives any data that scale. Points are measured
per column, pictures per channel. Mean and standard deviation are buffers, so they travel in the model's own file.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from undiffuse.codec.codec import Codec, Encoding, Entries
from undiffuse.core.configuration import from_json
from undiffuse.core.noise import Noise
from undiffuse.core.on_disk import typical
from undiffuse.data.dataset import FORMS, Dataset

MEASURED_AT_ONCE = 1 << 18  # values widened to float64 together: 2 MB, which stay in the cache


class Normalise(Codec):
    """Between data as it is stored and data as it diffuses.

    Args:
        kind: Of the data, by name.
        shape: The shape of one row: ``(columns,)``, ``(channels, length)`` or ``(channels, height, width)``.
        quantised: Whether it is whole numbers from 0 to 255; None is what is usual for the kind.

    Attributes:
        mean: ``(columns,)``, ``(channels, 1)`` or ``(channels, 1, 1)``, float32, in the data's units; 0 until
            measured or loaded.
        std: Likewise; 1 until measured or loaded, and 1 wherever the data is constant.
    """

    in_place = True
    no_likelihood = ""

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str, shape: tuple[int, ...], quantised: bool | None = None) -> None:
        super().__init__()
        form = FORMS[kind]
        self.kind, self.usual = kind, form.dtypes[0] == torch.uint8
        self.quantised = self.usual if quantised is None else quantised
        self.shape = tuple(shape)
        measured = (shape[0], *[1] * (len(shape) - 1)) if form.channels else self.shape
        self.register_buffer("mean", torch.zeros(measured))
        self.register_buffer("std", torch.ones(measured))

    @classmethod
    def measure(cls, data: Dataset | Tensor) -> "Normalise":
        """The codec under which ``data`` has mean 0 and standard deviation 1.

        A uint8 tensor holds pictures, any other points. Sums run in float64 over pieces of the data, so a large data
        set is never copied. Of rows on disk, evenly spread ones are measured.
        """
        x = typical(data.x if isinstance(data, Dataset) else data)
        bytes_ = x.dtype == torch.uint8
        kind = data.kind if isinstance(data, Dataset) else "pictures" if bytes_ else "points"
        codec = cls(kind, tuple(x.shape[1:]), bytes_)
        mean = codec._average(x, lambda piece: piece)
        variance = codec._average(x, lambda piece: (piece - mean).square_())
        codec.mean.copy_(mean)
        codec.std.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))
        return codec

    def facts(self) -> str | None:
        """Whether it is quantised, if that differs from what is usual for the kind."""
        return None if self.quantised == self.usual else json.dumps({"quantised": self.quantised})

    def _average(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """The average of a function of the data, piece by piece, float64 in the shape of the buffers."""
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        for piece in x.split(max(1, MEASURED_AT_ONCE // x[0].numel())):
            total += of(piece.to("cpu", torch.float64)).sum_to_size(1, *self.mean.shape)[0]
        return total * self.mean.numel() / x.numel()

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """``(batch, *shape)`` uint8 pictures or float points to float32 of mean 0 and standard deviation 1."""
        return (x - self.mean).div_(self.std).to(self.mean.dtype)

    def entries(self, x: Tensor, known: Tensor, noise: Noise, complete: bool = False) -> Entries:
        """Every entry that diffuses is one of the data."""
        return Entries(self.encode(x, noise), known)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The mean and standard deviation."""
        return self.mean, self.std

    def decode(self, z: Tensor) -> Tensor:
        """Back to the data's kind: float32 points (whole-number columns too), or uint8 pictures, rounded and clipped.

        ``decode(encode(x))`` is x itself for pictures, and x to rounding for points.
        """
        x = (z * self.std).add_(self.mean)
        return x.round_().clamp_(0, 255).to(torch.uint8) if self.quantised else x


def pixels(
    shape: tuple[int, ...], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> Normalise:
    """The codec of pictures with these means and deviations of channels; without them, from -1, black, to 1, white."""
    codec = Normalise("pictures", shape)
    codec.mean.copy_(torch.tensor(mean or 127.5).view(-1, 1, 1))
    codec.std.copy_(torch.tensor(std or 127.5).view(-1, 1, 1))
    return codec


@dataclass(frozen=True)
class Standard(Encoding):
    """The data itself diffuses, of mean 0 and standard deviation 1."""

    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> Normalise:
        """The codec, not yet measured. Raises UserError for tables and texts, which have codecs of their own."""
        self.check_kind(kind)
        told = from_json(dict[str, bool], facts, "codec") if facts else {}
        return Normalise(kind, shape, told.get("quantised"))

    def measure(self, data: Dataset) -> Normalise:
        """The codec of this data."""
        return Normalise.measure(data)
