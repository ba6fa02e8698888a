"""Activation checkpointing: the blocks of a network are computed again on the way back instead of being kept.

The memory of a training step is mostly what the blocks keep for their gradients. With only their inputs kept, a step
takes about a third longer, and the gradient is the same (Chen et al. 2016).
"""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(net: nn.Module) -> None:
    """Recompute each block of ``net``: each entry of its lists of modules. Names and weights stay as they are."""
    for module in net.modules():
        for block in module if isinstance(module, nn.ModuleList) else ():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
