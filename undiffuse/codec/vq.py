"""The codec of a vocabulary: a picture becomes a few tokens, each naming one of K vectors, and is drawn from them.

    encoder  x -> a vector at every place -> its nearest of the K          decoder  vectors -> x_hat

(van den Oord et al. 2017.) The gradient skips the choice: it passes straight from the chosen vector to the encoder's
own. All vectors have unit length and few numbers, so that "nearest" means the smallest angle, and none of the K lies
unused, far from all pictures (Yu et al. 2022, section 3.2). Trained on

    |x - x_hat|^2/(2 s^2) + beta |z - sg(e)|^2 + |sg(z) - e|^2,          sg: no gradient

What diffuses is the tokens: VQ-Diffusion (Gu et al. 2022).
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undiffuse.codec.codec import Codec
from undiffuse.codec.normalise import Normalise
from undiffuse.codec.vae import ConvDecoder, ConvEncoder, ConvVAE, Fit
from undiffuse.core.errors import UserError
from undiffuse.core.memory import within_memory
from undiffuse.core.noise import Noise
from undiffuse.data.dataset import Dataset
from undiffuse.process.categorical import TokenShape


class VQ(Codec):
    """A codec between pictures and tokens.

    Args:
        pixels: Of the data.
        encoder: Normalised x (batch, *shape) -> (batch, width, rows, columns).
        decoder: Vectors (batch, width, rows, columns) -> normalised x_hat.
        codes: K, how many vectors.
        width: How many numbers a vector has.
        places: (rows, columns).
    """

    def __init__(
        self,
        pixels: Normalise,
        encoder: nn.Module,
        decoder: nn.Module,
        codes: int,
        width: int,
        places: tuple[int, int],
    ) -> None:
        super().__init__()
        self.kind, self.shape, self.encoded_once = pixels.kind, pixels.shape, True
        self.pixels, self.encoder, self.decoder = pixels, encoder, decoder
        self.vectors = nn.Embedding(codes, width)
        self.places = places

    @property
    def latent_shape(self) -> TokenShape:
        """Of what diffuses."""
        return TokenShape(self.places, self.vectors.num_embeddings)

    def seen(self, x: Tensor) -> Tensor:
        """What the encoder makes of x as it is stored: (batch, rows, columns, width) of unit length."""
        return F.normalize(self.encoder(self.pixels.encode(x)).float().movedim(1, -1), dim=-1)

    def nearest(self, z: Tensor) -> Tensor:
        """The tokens of vectors (..., width). In full precision: codes that half tells not apart are still two."""
        with torch.autocast(z.device.type, enabled=False):
            return (z.float() @ self._units().float().T).argmax(-1)

    def precompute(self, x: Tensor) -> Tensor:
        """The tokens, as int32."""
        return self.nearest(self.seen(x)).to(torch.int32)

    def latent(self, precomputed: Tensor, noise: Noise | None = None) -> Tensor:
        """Nothing is random here: (batch, rows, columns) int64."""
        return precomputed.long()

    def encode(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """``(batch, *shape)`` as it is stored to tokens (batch, rows, columns)."""
        return self.latent(self.precompute(x))

    def decode(self, tokens: Tensor) -> Tensor:
        """Back to pictures, uint8. A mask, which only unfinished samples contain, is decoded from the zero vector."""
        nothing = self._units().new_zeros(1, self.vectors.embedding_dim)
        return self._drawn(F.embedding(tokens, torch.cat([self._units(), nothing])))

    def loss(self, x: Tensor, deviation: float, kl: float, noise: Noise | None = None) -> Tensor:
        """What is trained on (batch,), per number of x; ``kl`` is beta."""
        z = self.seen(x)
        e = self._units()[self.nearest(z.detach())]
        straight = z + (e - z).detach()
        error = (self._decoded(straight) - self.pixels.encode(x)).square().flatten(1).sum(1)
        latent = kl * (z - e.detach()).square() + (z.detach() - e).square()
        return (error / (2 * deviation**2) + latent.flatten(1).sum(1)) / x[0].numel()

    @torch.no_grad()
    def measure_latents(self, x: Tensor) -> None:
        """Nothing: tokens are as they are."""

    def _units(self) -> Tensor:
        return F.normalize(self.vectors.weight, dim=-1)

    def _decoded(self, z: Tensor) -> Tensor:
        answer: Tensor = self.decoder(z.movedim(-1, 1) * math.sqrt(z.shape[-1])).float()  # numbers of about 1
        return answer

    def _drawn(self, z: Tensor) -> Tensor:
        return self.pixels.decode(self._decoded(z))


@dataclass(frozen=True)
class VQVAE:
    """Convolutions as `ConvVAE` has them, and ``codes`` vectors of ``latent`` numbers between them.

    28 x 28 pixels and two halvings give 7 x 7 tokens. Heights and widths must be multiples of 2^halvings.
    """

    codes: int = 256
    latent: int = 8
    width: int = 32
    halvings: int = 2
    blocks: int = 1
    fit: Fit = field(default_factory=lambda: Fit(kl=0.25))

    def __post_init__(self) -> None:
        if self.codes < 2:
            raise UserError(f"a vocabulary has at least 2 codes, not {self.codes}")
        self._convolutions()

    @within_memory
    def build(self, kind: str, shape: tuple[int, ...], facts: str | None = None) -> VQ:
        """The codec, untrained. Raises UserError for points, and pictures of a size that does not divide."""
        places = self._convolutions().places(shape)
        widths = self._convolutions().widths
        encoder = ConvEncoder(shape[0], widths, self.blocks, self.latent)
        decoder = ConvDecoder(shape[0], widths, self.blocks, self.latent)
        return VQ(Normalise(kind, shape), encoder, decoder, self.codes, self.latent, places)

    def measure(self, data: Dataset) -> VQ:
        """The codec to be trained on this data."""
        codec = self.build(data.kind, data.shape)
        codec.pixels.load_state_dict(Normalise.measure(data).state_dict())
        return codec

    def _convolutions(self) -> ConvVAE:
        return ConvVAE(self.latent, self.width, self.halvings, self.blocks)
