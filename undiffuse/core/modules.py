"""Parts that learn, inside parts that do not.

Recipes, processes and losses are frozen dataclasses; a few of their parts are modules with a state: a learned schedule,
a law of t that watches the losses. They must be found, to be optimised and saved.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Self

from torch import nn


class HostModule(nn.Module):
    """A module of times: it stays on the CPU in float64, wherever the network goes, as times do."""

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        return self


def modules(part: Any) -> Iterator[nn.Module]:
    """The modules within nested dataclasses, in the order of their fields; a module itself is yielded whole."""
    if isinstance(part, nn.Module):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from modules(getattr(part, field.name))
