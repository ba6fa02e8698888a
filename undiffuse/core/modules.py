"""Parts that learn, inside frozen dataclasses.

Recipes, processes and losses are frozen dataclasses. A few of their parts learn: a schedule, a distribution of t that
follows the losses. In a recipe these are plain descriptions. For a training they are built: modules with a state, which
must be found in the dataclasses so that it is optimised and saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

from torch import nn


class HostModule(nn.Module):
    """A module that computes with times: it stays on the CPU in float64, as times do."""

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        return self


class Learning(ABC):
    """The description of a part that learns."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The module, before any training."""


def built(part: Any) -> Any:
    """The same, with a new module in place of every description of a part that learns, in nested dataclasses too."""
    if isinstance(part, Learning):
        return part.build()
    if not is_dataclass(part) or isinstance(part, type):
        return part
    plain = {field.name: getattr(part, field.name) for field in fields(part)}
    live = {name: built(value) for name, value in plain.items()}
    return replace(part, **live) if any(live[name] is not plain[name] for name in plain) else part


def modules(part: Any) -> Iterator[nn.Module]:
    """The modules within nested dataclasses, in the order of their fields; a module is yielded whole."""
    if isinstance(part, nn.Module):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from modules(getattr(part, field.name))
