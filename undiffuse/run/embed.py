"""Pictures and texts as the vectors of a run that was trained to tell which belong together.

A picture's vector has length sqrt(dimensions), so that its numbers are about 1 (as unCLIP's prior wants them).
"""

import math
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from undiffuse.condition.conditions import Conditions
from undiffuse.core.errors import UserError
from undiffuse.core.files import read_tensors, write_tensors
from undiffuse.run.tuned import fingerprint

BATCH = 500
EMBEDS = "see undiffuse evaluate"
VECTORS = "vectors-{}.safetensors"  # in a run's folder, by the split of the data


@torch.no_grad()
def pictures_embedded(run: Any, x: Tensor) -> Tensor:
    """Vectors (count, dimensions) of pictures (count, *shape) as they are stored, on the CPU."""
    parts = [run.denoiser.of_pictures(run.codec.encode(part.to(run.device))).cpu() for part in x.split(BATCH)]
    return torch.cat(parts) * math.sqrt(run.denoiser.dimensions)


@torch.no_grad()
def texts_embedded(run: Any, conditions: Conditions) -> Tensor:
    """Vectors (count, dimensions) of the texts of conditions, on the CPU."""
    rows = torch.arange(len(conditions)).split(BATCH)
    parts = [run.denoiser.of_texts(conditions[part].to(run.device)).cpu() for part in rows]
    return torch.cat(parts) * math.sqrt(run.denoiser.dimensions)


def kept_vectors(run: Any, split: str, x: Tensor) -> Tensor:
    """The vectors of the pictures of a split, computed once: they lie in the run's folder, with what tells its weights
    and these pictures from others."""
    if not hasattr(run.denoiser, "of_pictures"):
        raise UserError(f"{run.folder}: embeds no pictures; the stage of embeddings is a model of pictures and texts")
    path = run.folder / VECTORS.format(split)
    of = {"model": run.fingerprint, "data": fingerprint({"x": x})}
    if path.is_file():
        tensors, facts = read_tensors(path)
        if facts == of:
            return tensors["x"]
    found = pictures_embedded(run, x)
    if PartialState().is_main_process:
        write_tensors(path, {"x": found}, of)
    return found
