"""Weights sharded over processes (FSDP2), if accelerate asks for it: ``--use_fsdp --fsdp_version 2``.

Each process keeps its rows of every weight, and so of its gradient, of the optimizer's state and of the averages. A
block's weights are gathered before it computes and dropped after it; its gradient is averaged straight into the rows.
Each weight is a `DTensor`, which computes like the whole tensor. So training code need not know about sharding, except
where tensors leave it (`whole`) and come back (`rows`).
"""

import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.modules import HostModule
from undiffuse.loss.score_matching import ScoreMatching

if TYPE_CHECKING:
    from accelerate import Accelerator


def requested() -> bool:
    """Whether weights are to be sharded. (On a CPU, accelerate itself ignores the setting.)

    Raises:
        UserError: FSDP's first version is asked for.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() not in ("true", "1"):
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError("weights are shared out by FSDP2 alone; tell accelerate --fsdp_version 2")
    return True


class Sharded:
    """Shard the networks of an objective, in place; the result is called like the objective.

    Raises:
        UserError: A part that learns, or the way it learns, does not allow sharding.
    """

    def __init__(self, objective: nn.Module, accelerator: "Accelerator") -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.objective, self.device = objective, accelerator.device
        networks = list(_networks(objective))
        _check(objective, networks)
        mesh = init_device_mesh(self.device.type, (accelerator.num_processes,))
        for network in networks:
            for block in _blocks(network):
                fully_shard(block, mesh=mesh)
            fully_shard(network, mesh=mesh)
        # what a network returns may be a view, which is harmless: nobody writes into it
        warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
        hearing = (part for part in objective.modules() if isinstance(part, HostModule))
        self._heard = [buffer for part in hearing for buffer in part.buffers()]

    def __call__(self, x: Tensor, conditions: Conditions | None = None) -> Tensor:
        """The loss of this process's rows."""
        self._listen()
        loss: Tensor = self.objective(x, conditions)
        return loss

    @torch.no_grad()
    def _listen(self) -> None:
        """A learned distribution of t copies the state of the main process's, as it does without sharding."""
        from accelerate.utils import broadcast

        for buffer in self._heard:
            buffer.copy_(broadcast(buffer.to(self.device)))


def whole(tensor: Any) -> Tensor:
    """All rows of a sharded tensor, which every process must ask for together; any other tensor as it is."""
    return tensor.full_tensor() if _is_shared(tensor) else tensor


def all_whole(tensors: dict[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Whole tensors on the CPU, one after the other; a process that does not keep them takes part but gets none."""
    kept = {}
    for name, tensor in tensors.items():
        value = whole(tensor)
        if keep:
            kept[name] = value.cpu()
    return kept


def rows(tensor: Tensor, like: Any) -> Tensor:
    """A whole tensor, which every process has, sharded like ``like``."""
    if not _is_shared(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _is_shared(tensor: Any) -> bool:
    """Whether it is a DTensor, without importing the class: the import takes half a second and is often not needed."""
    return hasattr(tensor, "device_mesh")


def _check(objective: nn.Module, networks: list[nn.Module]) -> None:
    """Raises UserError for what cannot be sharded."""
    inside = {weight for network in networks for weight in network.parameters()}
    if any(weight.requires_grad and weight not in inside for weight in objective.parameters()):
        raise UserError("a learned schedule or vocabulary cannot be shared out; leave FSDP out, or choose another")
    if isinstance(getattr(objective, "loss", None), ScoreMatching):  # weights are dropped after the first derivative
        raise UserError("score matching takes two derivatives, which FSDP does not; leave it out, or --loss denoising")


def _networks(objective: Any) -> Iterator[nn.Module]:
    """What learns in a model: a denoiser's network, a codec's encoder and decoder. Each is only called."""
    return (part for part in objective.model.children() if any(True for _ in part.parameters()))


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks to gather one after the other: every module that a network keeps in a list, the innermost first."""
    for part in network.children():
        yield from _blocks(part)
        if isinstance(network, nn.ModuleList):
            yield part
