"""Codecs: between data as it is stored and data as it diffuses, of mean 0 and standard deviation 1.

`normalise`   its mean and standard deviation alone
`vae`         variational autoencoders: trained first, so that diffusion runs among few numbers that matter
`pretrained`  diffusers' AutoencoderKL, from a folder
`table`       rows of a table as exactly normal numbers and tokens
`tokens`      text, as it is
`levels`      pictures as tokens: a few levels of brightness
`labelled`    pictures with their labels, as rows of numbers and a token
`vq`          pictures as fewer tokens, of a vocabulary that is trained first

The contract of a codec, a module that travels in the model's file:

    kind, shape      of the data; ``latent_shape``: of what diffuses
    look(x)          what training need compute only once of each row, (batch, ...)
    draw(looked)     of that, what diffuses: z, afresh each time it is asked
    encode(x)        draw(look(x))
    decode(z)        back to the data

A recipe *describes* one: `Standard`, `MLPVAE`, `ConvVAE`, `VQVAE`, `Pretrained`, `Tabular`, `Verbatim`, `Levels`,
`Labelled`. ``description.build(kind, shape)`` makes the module that a file is loaded into, of tables, texts and
labelled pictures ``restore``, as they are more than a shape; ``measure(data)``, the one that training begins with.
"""

from undiffuse.codec.labelled import Labelled, LabelledCodec
from undiffuse.codec.levels import LevelCodec, Levels
from undiffuse.codec.normalise import Normalise, Standard
from undiffuse.codec.pretrained import Pretrained
from undiffuse.codec.table import TableCodec, Tabular
from undiffuse.codec.tokens import TokenCodec, Verbatim
from undiffuse.codec.vae import MLPVAE, VAE, ConvVAE
from undiffuse.codec.vq import VQ, VQVAE

Codec = Normalise | VAE | TableCodec | TokenCodec | LevelCodec | LabelledCodec | VQ
Description = Standard | MLPVAE | ConvVAE | Pretrained | Tabular | Verbatim | Levels | Labelled | VQVAE

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
    "Verbatim",
]
