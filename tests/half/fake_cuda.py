"""A CUDA device that is not there: tensors on it have a shape, a type and a place, and no numbers.

What PyTorch's autocast lowers on CUDA, it lowers here, as this is decided before anything is computed. What asks a
tensor on the device for a number (a host sync) is an error. What stays on the CPU is computed as ever.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from undiffuse.core import linear

HERE = torch.device("cuda", 0)  # with its number: nobody knows the current one
CUDA, META = 1, 14  # PyTorch's numbers of kinds of devices


class Device(FakeTensorMode):
    """Fakes what happens on the device alone, and notes which operations there answer in bfloat16."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.lowered: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(map(_is_there, tree_leaves((args, kwargs)))):
            return func(*args, **kwargs)
        answer = super().__torch_dispatch__(func, types, args, kwargs)
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.bfloat16 for leaf in tree_leaves(answer)):
            self.lowered.append(str(func))
        return answer


def _is_there(leaf: Any) -> bool:
    return isinstance(leaf, FakeTensor) or (isinstance(leaf, torch.device) and leaf.type == "cuda")


def on_device(net: nn.Module) -> nn.Module:
    """The module with its weights and buffers there (`Module.to` cannot make them other tensors than they are)."""
    for module in net.modules():
        for name, weight in module._parameters.items():
            module._parameters[name] = None if weight is None else nn.Parameter(weight.detach().to(HERE))
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(HERE)
    return net


@contextmanager
def device() -> Iterator[Device]:
    """A device; what it lowers is in ``lowered``."""
    _guard()
    try:
        with Device() as there:
            yield there
    finally:
        linear._one.cache_clear()  # which would keep what is no tensor afterwards


def _guard() -> None:
    """Without CUDA's part of PyTorch nothing says which device is current: then what says so of "meta" does."""
    if torch.cuda._is_compiled():
        return
    try:
        library = ctypes.CDLL(str(next(Path(torch.__file__).with_name("lib").glob("*c10.*"))))
        guards = (ctypes.c_void_p * 16).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    except (StopIteration, OSError, ValueError):
        pytest.skip("this PyTorch has no place to keep devices that it was built without")
    guards[CUDA] = guards[META]


@contextmanager
def half() -> Iterator[None]:
    """Autocast to bfloat16 on CUDA. (`torch.autocast` turns itself off where there is no CUDA.)"""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()
