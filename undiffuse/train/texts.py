"""What frozen text encoders say of the data: once for each distinct text, before training, kept on disk."""

from pathlib import Path

import torch
from torch import nn

from undiffuse.condition.conditions import Conditions
from undiffuse.condition.encoder import Encoder
from undiffuse.condition.frozen import FrozenEntry

FILE = "texts-{}.safetensors"  # in a run's folder, by the name of the condition


def compute_texts(model: nn.Module, conditions: Conditions | None, folder: Path, main: bool = True) -> None:
    """Compute what frozen encoders in a model say of every text of the data; the ``main`` process keeps it in files."""
    for encoder in model.modules():
        if conditions is None or not isinstance(encoder, Encoder):
            continue
        for name, entry in zip(encoder.names, encoder.entries, strict=True):
            if not isinstance(entry, FrozenEntry):
                continue
            file, ids = folder / FILE.format(name), conditions.entries[name].values
            entry.kept.load(file, entry.path)
            if name in conditions.variants:
                ids = torch.cat([ids, conditions.variants[name].flatten(0, 1)])
            if entry.learn(ids) and main:
                entry.kept.save(file, entry.path)
