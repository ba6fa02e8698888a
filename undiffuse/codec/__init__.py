"""Codecs: between data as it is stored and data as it diffuses, of mean 0 and standard deviation 1.

`codec`       what every codec is
`normalise`   its mean and standard deviation alone
`vae`         variational autoencoders: trained first, so that diffusion runs among few numbers that matter
`pretrained`  diffusers' AutoencoderKL, from a folder
`table`       rows of a table as exactly normal numbers and tokens
`tokens`      text, as it is
`levels`      pictures as tokens: a few levels of brightness
`labelled`    pictures with their labels, as rows of numbers and a token
`vq`          pictures as fewer tokens, of a vocabulary that is trained first
`ends`        two data sets, for a bridge

What all of them are is `codec.Codec`.

A recipe *describes* a codec: `Standard`, `MLPVAE`, `ConvVAE`, `VQVAE`, `Pretrained`, `Tabular`, `Tokens`, `Levels`,
`Labelled`, `TwoEnds`. ``description.build(kind, shape, facts)`` makes the module that a file is loaded into; ``facts``
are those that the codec stored in that file. ``measure(data)`` makes the codec that training begins with.
"""

from undiffuse.codec.codec import Codec
from undiffuse.codec.ends import EndsCodec, TwoEnds
from undiffuse.codec.labelled import Labelled, LabelledCodec
from undiffuse.codec.levels import LevelCodec, Levels
from undiffuse.codec.normalise import Normalise, Standard
from undiffuse.codec.pretrained import Pretrained
from undiffuse.codec.table import TableCodec, Tabular
from undiffuse.codec.tokens import TokenCodec, Tokens
from undiffuse.codec.vae import MLPVAE, VAE, ConvVAE
from undiffuse.codec.vq import VQ, VQVAE

Description = Standard | MLPVAE | ConvVAE | Pretrained | Tabular | Tokens | Levels | Labelled | VQVAE | TwoEnds

TRAINED_FIRST = MLPVAE | ConvVAE | VQVAE  # before anything diffuses; their codecs are slow, and rows encoded once

__all__ = [
    "MLPVAE",
    "TRAINED_FIRST",
    "VAE",
    "VQ",
    "VQVAE",
    "Codec",
    "ConvVAE",
    "Description",
    "EndsCodec",
    "Labelled",
    "LabelledCodec",
    "LevelCodec",
    "Levels",
    "Normalise",
    "Pretrained",
    "Standard",
    "TableCodec",
    "Tabular",
    "TokenCodec",
    "Tokens",
    "TwoEnds",
]
