"""Models written before conditions had an encoder of their own: what their tensors are called now.

    denoiser.net.condition.level.1.weight       ->  denoiser.encoder.level.1.weight
    denoiser.net.condition.label.table.weight   ->  denoiser.encoder.entries.0.table.weight, and .1 of a second
    attribute

The same in the states that a training goes on from, of averages and of the optimizer. Of a noisy classifier, whose
network lay within another module, that level is left out too.
"""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

LEVEL = re.compile(r"net\.((?:net\.|inner\.)*)condition\.level\.")
LABELS = re.compile(r"net\.((?:inner\.)*)condition\.label\.table\.")


def is_old(tensors: Mapping[str, Tensor]) -> bool:
    """Whether they are of such a model."""
    return any(LEVEL.search(name) for name in tensors)


def renamed(
    tensors: Mapping[str, Tensor], is_classifier: bool = False, sizes: tuple[int, ...] = ()
) -> dict[str, Tensor]:
    """Tensors by their names of today; ``sizes`` are how many names each of several attributes has."""
    if not is_old(tensors):
        return dict(tensors)
    return dict(entry for name, tensor in tensors.items() for entry in _entries(name, tensor, is_classifier, sizes))


def _entries(name: str, tensor: Tensor, is_classifier: bool, sizes: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    name = LEVEL.sub("encoder.level.", name)
    if is_classifier:
        name = re.sub(
            r"(denoiser\.|\.|^)net\.(net|read)\.", lambda m: m[1] + ("net." if m[2] == "net" else "read."), name
        )
    if not LABELS.search(name):
        yield name, tensor
        return
    rows = [size + 1 for size in sizes] or [len(tensor)]
    parts = tensor.split(rows) if tensor.ndim else [tensor] * len(rows)  # an optimizer's count of steps is one number
    for k, part in enumerate(parts):
        yield LABELS.sub(f"encoder.entries.{k}.table.", name), part.clone()
