"""Networks: what a diffusion model learns.

The contract
    ``net(x, log_snr, label=None) -> y``

    x        (batch, *shape), scaled by the caller to about unit variance
    log_snr  (batch,) or 0-d, in the dtype of x: the noise level, ln(alpha² / sigma²), finite, about [-20, 20].
             Sampling sends one level for the whole batch: it is embedded once and broadcast.
    label    None or (batch,) int64 in [-1, classes), or (batch, attributes), ``classes`` being a count of each. -1 is
             "no label", sample by sample (the dropped condition of classifier-free guidance); None is -1 for all.
    y        the shape and dtype of x; built with ``out_multiple=2``, twice the first axis of shape, the mean first
             and then whatever else is learned of each value (its variance).

A network starts as the zero function: its last layer is zero, so the first loss is that of the best constant guess.

The pattern
    A network is *described* by a small frozen dataclass of plain values, which a recipe can write down and read
    back, and *built* from it for a data shape: ``MLP(width=64).build(shape=(2,), classes=0)``. The description holds
    the fields, their defaults and their meaning, the module holds the mathematics:

    mlp.py   ``MLP``   -> ``ResidualMLP``   points of any shape
    unet.py  ``UNet``  -> ``NestedUNet``    pictures, any height and width: DDPM's, ADM's and Imagen's U-Nets
    fold.py  ``Folded``             a U-Net on pictures whose patches became channels
    dit.py   ``DiT``   -> ``PatchTransformer``      pictures as patches that look at one another
    table.py  ``TableMLP``          rows of a table: numbers, and categories as tokens
    token_transformer.py  ``TokenTransformer``      tokens, likewise
    embedded.py  ``Embedded``       pictures made of tokens, by a network of pictures
    blocks.py, transformer.py   what these are made of
    embed.py               what all are told beside x: the noise level and the label
"""

from undiffuse.net.dit import DiT, PatchTransformer
from undiffuse.net.embed import Condition, GaussianFourier, LabelEmbedding, Sinusoidal, sinusoidal_table
from undiffuse.net.fold import Folded
from undiffuse.net.mlp import MLP, ResidualMLP
from undiffuse.net.unet import NestedUNet, UNet

__all__ = [
    "MLP",
    "Condition",
    "DiT",
    "Folded",
    "GaussianFourier",
    "LabelEmbedding",
    "NestedUNet",
    "PatchTransformer",
    "ResidualMLP",
    "Sinusoidal",
    "UNet",
    "sinusoidal_table",
]
