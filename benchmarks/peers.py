"""Peers' samplers, without what their packages import beside them.

k-diffusion and smalldiffusion import torchvision (and wandb, clip, ...) at the top, for training and pictures.
Their samplers use none of it, so empty modules stand in for what is missing. `make bench` installs the peers
themselves.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock


def k_diffusion_sampling() -> ModuleType:
    """``k_diffusion.sampling``, loaded as a file: its package pulls in far more."""
    if "k_diffusion.sampling" in sys.modules:
        return sys.modules["k_diffusion.sampling"]
    package = Path(_find("k_diffusion").submodule_search_locations[0])
    shell = ModuleType("k_diffusion")
    shell.__path__ = [str(package)]
    sys.modules["k_diffusion"] = shell
    _stand_in("torchvision", "torchvision.transforms")
    return importlib.import_module("k_diffusion.sampling")


def smalldiffusion() -> ModuleType:
    """The package ``smalldiffusion``."""
    _stand_in("torchvision", "torchvision.transforms")
    return importlib.import_module("smalldiffusion")


def denoising_diffusion() -> ModuleType:
    """``denoising_diffusion_pytorch``'s main module. Nothing stands in afterwards: diffusers looks for torchvision."""
    names = "torchvision", "torchvision.transforms", "torchvision.utils", "pytorch_fid", "pytorch_fid.inception"
    stood_in = _stand_in(*names)
    try:
        return importlib.import_module("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    finally:
        for name in stood_in:
            del sys.modules[name]


def azula_sample() -> ModuleType:
    """``azula.sample``."""
    return importlib.import_module("azula.sample")


def _find(name: str) -> importlib.machinery.ModuleSpec:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise SystemExit(f"{name} is not installed; `make bench` installs the peers")
    return spec


def _stand_in(*names: str) -> list[str]:
    """Empty modules for those that are missing, whose names are returned."""
    missing = [name for name in names if name.split(".")[0] not in sys.modules and not _is_there(name.split(".")[0])]
    sys.modules.update({name: MagicMock() for name in missing})
    return missing


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
