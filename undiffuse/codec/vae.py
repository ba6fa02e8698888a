"""Variational autoencoders: a few numbers that say what a picture is, and how to draw it.

    encoder  x -> q(z | x) = N(m(x), e^v(x)), entry by entry          decoder  z -> p(x | z) = N(x_hat(z), s^2)

trained on the bound of -log p(x), in nats and up to constants (Kingma and Welling 2014), for pixels normalised to
deviation 1

    |x - x_hat|^2/(2 s^2) + KL(q(z | x) || N(0, 1)),        KL = 1/2 sum of m^2 + e^v - 1 - v

Diffusion then runs among the latents (Vahdat et al. 2021; Rombach et al. 2022). They are far from N(0, 1): entries that
the decoder does not need keep the prior's deviation, and those that it needs spread wider. So they are *measured* and
standardised, per channel (Rombach et al. measure one number, "rescale to unit deviation", section G). Otherwise the
schedule would not end in noise, or not begin at the data. A draw from q(z | x) diffuses, not its mean: the decoder was
trained on draws, and means without deviation would have a distribution on a thinner set.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from undiffuse.codec.codec import Codec
from undiffuse.codec.normalise import Normalise, Standard
from undiffuse.core.errors import UserError
from undiffuse.core.memory import within_memory
from undiffuse.core.noise import Noise, Stream
from undiffuse.core.on_disk import typical
from undiffuse.data.dataset import Dataset
from undiffuse.net.blocks import GroupNorm

AT_ONCE = 256  # rows encoded together
WIDEST, NARROWEST = 10.0, -20.0  # of v, the latents' log-variance


class VAE(Codec):
    """A codec around an encoder and a decoder.

    Args:
        pixels: Of the data.
        encoder: Normalised x (batch, *shape) -> (batch, 2 channels, *places), means and log-variances.
        decoder: z (batch, *latent_shape) -> normalised x_hat.
        latent_shape: Of z.

    Attributes:
        latents: Between z as it is encoded and as it diffuses; measured when the autoencoder is trained.
    """

    def __init__(
        self, pixels: Normalise, encoder: nn.Module, decoder: nn.Module, latent_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.kind, self.shape, self.encoded_once = pixels.kind, pixels.shape, True
        self.pixels, self.encoder, self.decoder = pixels, encoder, decoder
        self.latents = Normalise("pictures" if len(latent_shape) == 3 else "points", latent_shape)
        self.latents.quantised = False  # numbers, not bytes

    @property
    def of_bytes(self) -> bool:
        """As its pixels are."""
        return self.pixels.quantised

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Of what diffuses."""
        return self.latents.shape

    def facts(self) -> str | None:
        """Those of the pixels."""
        return self.pixels.facts()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (batch, *latent_shape) each, of x as it is stored."""
        m, v = self.encoder(self.pixels.encode(x)).float().chunk(2, dim=1)
        return m, v.clamp(NARROWEST, WIDEST)

    def precompute(self, x: Tensor) -> Tensor:
        """What `latent` needs, (batch, 2, *latent_shape): mean and deviation of q(z | x), standardised."""
        m, v = self.posterior(x)
        return torch.stack([self.latents.encode(m), (0.5 * v).exp() / self.latents.std], dim=1)

    def latent(self, precomputed: Tensor, noise: Noise | None = None) -> Tensor:
        """A draw of q(z | x), standardised, by ``noise`` or else torch's global generator."""
        mean, std = precomputed.unbind(1)
        return torch.addcmul(mean, std, (noise or Stream()).normal(mean))

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """``(batch, *shape)`` as it is stored to a draw ``(batch, *latent_shape)`` of mean 0 and deviation 1."""
        return self.latent(self.precompute(x), noise)

    def decode(self, z: Tensor) -> Tensor:
        """Back to data: uint8 pictures or float32 points."""
        return self.pixels.decode(self.decoder(self.latents.decode(z)).float())

    def loss(self, x: Tensor, deviation: float, kl: float, noise: Noise | None = None) -> Tensor:
        """The bound (batch,), in nats per number of x; ``kl`` weighs its second term."""
        m, v = self.posterior(x)
        z = torch.addcmul(m, (0.5 * v).exp(), (noise or Stream()).normal(m))
        error = (self.decoder(z).float() - self.pixels.encode(x)).square().flatten(1).sum(1)
        divergence = 0.5 * (m.square() + v.exp() - 1 - v).flatten(1).sum(1)
        return (error / (2 * deviation**2) + kl * divergence) / x[0].numel()

    @torch.no_grad()
    def measure_latents(self, x: Tensor) -> None:
        """Standardise the latents of x, channel by channel: the mean and variance that a draw of q(z | x) has."""
        self.latents.mean.zero_()
        self.latents.std.fill_(1)
        means, deviations = precomputed(self, typical(x)).double().unbind(1)
        others = [axis for axis in range(means.ndim) if axis != 1]
        variance = means.var(others, unbiased=False) + deviations.square().mean(others)
        self.latents.mean.copy_(means.mean(others).view_as(self.latents.mean))
        self.latents.std.copy_(variance.sqrt().view_as(self.latents.std))


@torch.no_grad()
def precomputed(codec: Codec, x: Tensor) -> Tensor:
    """`Codec.precompute`, of any number of rows, on the CPU."""
    device = next(codec.parameters()).device
    return torch.cat([codec.precompute(piece.to(device)).cpu() for piece in x.split(AT_ONCE)])


@dataclass(frozen=True)
class Fit:
    """How an autoencoder is trained, before anything diffuses: with the recipe's optimiser, for ``steps`` steps.

    Attributes:
        steps, batch, lr: As in a recipe.
        deviation: s of p(x | z), in the data's standard deviations: how finely pictures are to be redrawn.
        kl: Weight of the latents' cost. 1 is the bound itself; latent diffusion uses far less, for finer pictures,
            because it learns the latents' distribution itself.
    """

    steps: int = 2000
    batch: int = 128
    lr: float = 2e-3
    deviation: float = 0.3
    kl: float = 1.0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not (self.lr > 0 and self.deviation > 0 and self.kl >= 0):
            raise UserError(f"to fit a codec takes steps, batch, lr and deviation above 0, and kl from 0, not {self}")


@dataclass(frozen=True)
class MLPVAE:
    """Dense layers, for points and tiny pictures: ``latent`` numbers that have no place."""

    latent: int = 16
    hidden: tuple[int, ...] = (256, 128)
    fit: Fit = field(default_factory=Fit)

    def __post_init__(self) -> None:
        if min(self.latent, *self.hidden) < 1:
            raise UserError(f"a codec needs at least one latent and hidden unit, not {self}")

    @within_memory
    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> VAE:
        """The codec, untrained, drawn from torch's seed."""
        size = math.prod(shape)
        encoder = nn.Sequential(nn.Flatten(), *_dense([size, *self.hidden, 2 * self.latent]))
        decoder = nn.Sequential(*_dense([self.latent, *reversed(self.hidden), size]), nn.Unflatten(1, shape))
        return VAE(Standard().build(kind, shape, facts), encoder, decoder, (self.latent,))

    def measure(self, data: Dataset) -> VAE:
        """The codec to be trained on this data."""
        return _measured(self.build(data.kind, data.shape, Normalise.measure(data).facts()), data)


@dataclass(frozen=True)
class ConvVAE:
    """Convolutions, for pictures: ``latent`` channels at a place for every 2^halvings x 2^halvings pixels.

    28 x 28 pixels and two halvings give 7 x 7 places. Heights and widths must be multiples of 2^halvings.
    """

    latent: int = 4
    width: int = 32
    halvings: int = 2
    blocks: int = 1
    fit: Fit = field(default_factory=Fit)

    def __post_init__(self) -> None:
        if min(self.latent, self.width, self.blocks) < 1 or self.halvings < 0:
            raise UserError(f"a codec needs at least one latent channel, width and block, not {self}")

    @within_memory
    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> VAE:
        """The codec, untrained. Raises UserError for points, and pictures of a size that does not divide."""
        places = self.places(shape)
        encoder = ConvEncoder(shape[0], self.widths, self.blocks, 2 * self.latent)
        decoder = ConvDecoder(shape[0], self.widths, self.blocks, self.latent)
        return VAE(Standard().build(kind, shape, facts), encoder, decoder, (self.latent, *places))

    @property
    def widths(self) -> list[int]:
        """Channels, from the pixels to the latents: twice as many at half as many places."""
        return [self.width * 2**level for level in range(self.halvings + 1)]

    def places(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, columns) of latents. Raises UserError for points, and pictures of a size that does not divide."""
        factor = 2**self.halvings
        if len(shape) != 3 or any(side % factor for side in shape[1:]):
            raise UserError(
                f"this codec takes pictures whose height and width are multiples of {factor}, not data of shape "
                f"{tuple(shape)}; give --data.size, or --codec.halvings 0 to {_halvable(shape)}"
            )
        return shape[1] // factor, shape[2] // factor

    def measure(self, data: Dataset) -> VAE:
        """The codec to be trained on this data."""
        return _measured(self.build(data.kind, data.shape, Normalise.measure(data).facts()), data)


class ConvEncoder(nn.Sequential):
    """Pixels -> the finest places, then half as many of twice the channels, again and again."""

    def __init__(self, channels: int, widths: list[int], blocks: int, out: int) -> None:
        layers: list[nn.Module] = [_ChannelsLast(), nn.Conv2d(channels, widths[0], 3, padding=1)]
        for fine, coarse in pairwise(widths):
            layers += [_Block(fine) for _ in range(blocks)]
            layers.append(nn.Conv2d(fine, coarse, 3, stride=2, padding=1))
        layers += [_Block(widths[-1]) for _ in range(blocks)]
        super().__init__(*layers, _normed(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], out, 1))


class ConvDecoder(nn.Sequential):
    """The encoder's way back."""

    def __init__(self, channels: int, widths: list[int], blocks: int, latent: int) -> None:
        layers: list[nn.Module] = [_ChannelsLast(), nn.Conv2d(latent, widths[-1], 3, padding=1)]
        layers += [_Block(widths[-1]) for _ in range(blocks)]
        for coarse, fine in pairwise(reversed(widths)):
            layers += [nn.Conv2d(coarse, 4 * fine, 3, padding=1), nn.PixelShuffle(2)]
            layers += [_Block(fine) for _ in range(blocks)]
        super().__init__(*layers, _normed(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], channels, 3, padding=1))


class _Block(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(_normed(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(_normed(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _ChannelsLast(nn.Module):
    """The memory layout in which convolutions are fastest."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


def _normed(width: int) -> GroupNorm:
    return GroupNorm(width, most=8)


def _dense(sizes: list[int]) -> list[nn.Module]:
    """Linear layers with a leaky ReLU between them."""
    layers: list[nn.Module] = []
    for wide_in, wide_out in pairwise(sizes):
        layers += [nn.Linear(wide_in, wide_out), nn.LeakyReLU(0.05)]
    return layers[:-1]


def _measured(codec: VAE, data: Dataset) -> VAE:
    """With its pixels measured."""
    codec.pixels.load_state_dict(Normalise.measure(data).state_dict())
    return codec


def _halvable(shape: tuple[int, ...]) -> int:
    """How often height and width can be halved."""
    side = math.gcd(*shape[1:]) if len(shape) == 3 else 1
    return (side & -side).bit_length() - 1
