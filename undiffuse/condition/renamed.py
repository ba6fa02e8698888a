"""The present names of tensors in model files from before conditions had an encoder of their own.

    denoiser.net.condition.level.1.weight       ->  denoiser.encoder.level.1.weight
    denoiser.net.condition.label.table.weight   ->  denoiser.encoder.entries.0.table.weight, and .1 of a second
    attribute

The same holds for the states from which training resumes, of the averages and of the optimizer. In a noisy classifier,
whose network was inside another module, the name of that module is left out too.
"""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

LEVEL = re.compile(r"net\.((?:net\.|inner\.)*)condition\.level\.")
LABELS = re.compile(r"net\.((?:inner\.)*)condition\.label\.table\.")


def is_old(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of such a model."""
    return any(LEVEL.search(name) for name in tensors)


def renamed(
    tensors: Mapping[str, Tensor], is_classifier: bool = False, sizes: tuple[int, ...] = ()
) -> dict[str, Tensor]:
    """Tensors by their present names; ``sizes`` are the numbers of labels of each of several attributes."""
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
