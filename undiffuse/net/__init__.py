"""Networks.

The contract
    ``net(x, routes) -> y``

    x        (batch, *shape), scaled by the caller to about unit variance
    routes   the noise level and the conditions, encoded (`undiffuse.condition.encoder`): a vector, of one row if the
             whole batch shares it, and, if the network was built for them, tokens and channels
    y        the shape and dtype of x; built with ``out_multiple=2``, twice the first axis of shape: first the mean,
             then what else is learned of each value (its variance).

A network starts as the zero function: its last layer, ``head``, is zero, so the first loss is that of the best
constant.

The pattern
    A network is *described* by a small frozen dataclass of plain values, which a recipe can store, and *built* from it
    for a data shape: ``MLP(width=64).build(shape=(2,), routes=encoder.widths)``. If the network lacks a route, `build`
    raises an error that names the condition that needs it. The description has the fields, their defaults and their
    meaning; the module has the mathematics:

    mlp.py   ``MLP``   -> ``ResidualMLP``   points of any shape
    unet.py  ``UNet``  -> ``NestedUNet``    pictures, any height and width: DDPM's, ADM's and Imagen's U-Nets
    fold.py  ``SpaceToDepth``             a U-Net on pictures whose patches became channels
    signal.py  ``SignalUNet``       the U-Net in one dimension
    dit.py   ``DiT``   -> ``PatchTransformer``      pictures as patches with self-attention
    table.py  ``TableMLP``          rows of a table: numbers, and categories as tokens
    token_transformer.py  ``TokenTransformer``      tokens with self-attention
    embedded.py  ``Embedded``       pictures made of tokens, by a network of pictures
    blocks.py, transformer.py, joint.py   the blocks of these
"""

from undiffuse.net.dit import DiT, PatchTransformer
from undiffuse.net.fold import SpaceToDepth
from undiffuse.net.mlp import MLP, ResidualMLP
from undiffuse.net.signal import SignalUNet
from undiffuse.net.unet import NestedUNet, UNet

__all__ = [
    "MLP",
    "DiT",
    "NestedUNet",
    "PatchTransformer",
    "ResidualMLP",
    "SignalUNet",
    "SpaceToDepth",
    "UNet",
]
