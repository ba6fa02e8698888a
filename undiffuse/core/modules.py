"""Parts that learn, inside parts that do not.

Recipes, processes and losses are frozen dataclasses. A few parts of them learn: a schedule, a distribution of t that
watches the losses. In a recipe these are plain descriptions too; for a training they are built, and are then modules
with a state, which must be found, to be optimised and saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

from torch import nn


class HostModule(nn.Module):
    """A module of times: it stays on the CPU in float64, wherever the network goes, as times do."""

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        return self


class Learning(ABC):
    """The description of a part that learns."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The part itself, which has learned nothing yet."""


def built(part: Any) -> Any:
    """The same, with a module of its own for every part that learns within nested dataclasses."""
    if isinstance(part, Learning):
        return part.build()
    if not is_dataclass(part) or isinstance(part, type):
        return part
    plain = {field.name: getattr(part, field.name) for field in fields(part)}
    live = {name: built(value) for name, value in plain.items()}
    return replace(part, **live) if any(live[name] is not plain[name] for name in plain) else part


def modules(part: Any) -> Iterator[nn.Module]:
    """The modules within nested dataclasses, in the order of their fields; a module itself is yielded whole."""
    if isinstance(part, nn.Module):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from modules(getattr(part, field.name))
