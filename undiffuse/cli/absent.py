"""Recipes without what they compute with: everything that is not Python's own is absent, and imported in an instant.

A recipe is plain values, and what may stand in it is in type hints: to list its fields, the classes are enough. But a
class lies in the file that also computes, which imports torch, and that takes seconds. While `absent` lasts, each such
import gives a stand-in that may be inherited from, called and used in annotations, and that can do nothing.
"""

import sys
from abc import ABCMeta
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any

NEEDED = {*sys.stdlib_module_names, "undiffuse", "yaml"}


@contextmanager
def absent() -> Iterator[None]:
    """Imports in this context get stand-ins for other packages, and are forgotten afterwards; not if torch is
    imported."""
    if "torch" in sys.modules:
        yield
        return
    before, finder = set(sys.modules), Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] not in NEEDED - {"undiffuse"}:
                del sys.modules[name]


class OfAnything(ABCMeta):
    """The class of `Anything`: every attribute of it is `Anything` too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class Anything(metaclass=OfAnything):
    """Stands for every class and function of a package that is absent."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __call__(self, *given: Any, **named: Any) -> Any:
        """As a decorator, it returns the function unchanged."""
        return given[0] if given and isinstance(given[0], FunctionType) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __class_getitem__(cls, of: Any) -> Any:
        return cls

    def __getitem__(self, of: Any) -> Any:
        return self

    __add__ = __radd__ = __mul__ = __rmul__ = __getitem__


class Finder(MetaPathFinder, Loader):
    """Finds every package that is not needed, and makes a module of `Anything`."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A package, since anything may be imported from it."""
        return None if name.partition(".")[0] in NEEDED else ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module every attribute."""
        vars(module)["__getattr__"] = lambda name: getattr(Anything, name)
