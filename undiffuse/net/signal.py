"""The U-Net in one dimension: signals (channels, length), of any length.

A signal is a picture one pixel high: this is the U-Net of pictures with kernels of 1 x 3 instead of 3 x 3. A condition
in channels, such as a signal of another length, is scaled to the length of x.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from undiffuse.condition.encoder import Routes, Widths
from undiffuse.core.errors import UserError
from undiffuse.net.unet import NestedUNet, UNet

KERNEL = (1, 3)


@dataclass(frozen=True)
class SignalUNet:
    """A U-Net of signals.

    inner      its design; a level is half as long as the one above
    """

    inner: UNet = field(default_factory=UNet)

    @property
    def vector(self) -> int:
        """How wide a vector it takes."""
        return self.inner.vector

    def build(self, shape: tuple[int, ...], routes: Widths, out_multiple: int = 1) -> "Flat":
        """The module, for signals of ``shape`` (channels, length). Raises UserError for other data."""
        if len(shape) != 2:
            raise UserError(f"this U-Net takes signals (channels, length), not data of shape {tuple(shape)}")
        self.inner.check(routes)
        return Flat(NestedUNet(self.inner, shape[0], routes, out_multiple, KERNEL))


class Flat(nn.Module):
    """(batch, channels, length) -> (batch, out_multiple * channels, length), by a network of pictures 1 pixel high."""

    def __init__(self, inner: NestedUNet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, routes: Routes) -> Tensor:
        """The prediction. Raises UserError for another count of channels."""
        if routes.channels is not None and routes.channels.ndim == x.ndim:
            routes = routes._replace(channels=routes.channels[:, :, None])
        y: Tensor = self.inner(x[:, :, None], routes)
        return y[:, :, 0]
