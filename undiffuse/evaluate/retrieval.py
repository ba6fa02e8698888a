"""How well pictures and texts find each other: of 100 held-out captions, is a picture's own the nearest, and the other
way round?"""

from math import nan

import torch

from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset
from undiffuse.measure.report import Report, Row
from undiffuse.run.embed import pictures_embedded, texts_embedded
from undiffuse.run.run import Run

AMONG = 100
MEANING = f"the share of held-out rows whose own {{}} is the nearest to {{}} of {AMONG}; the floor is chance"


def retrieval(run: Run, data: Dataset, seed: int = 0) -> dict[str, float]:
    """The share of pictures that find their caption, and of captions that find their picture, among so many each.

    Raises UserError for fewer rows than that, or without captions.
    """
    if data.conditions is None or len(data) < AMONG:
        raise UserError(f"{data.name}: retrieval is measured on at least {AMONG} pictures with captions")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    order = order[: len(data) // AMONG * AMONG]
    pictures = pictures_embedded(run, data.x[order]).view(-1, AMONG, run.denoiser.dimensions)
    texts = texts_embedded(run, data.conditions[order]).view_as(pictures)
    alike, own = pictures @ texts.mT, torch.arange(AMONG)
    found = {"caption": alike.argmax(2), "picture": alike.argmax(1)}
    return {name: float((nearest == own).double().mean()) for name, nearest in found.items()}


def of_contrastive(run: Run, seed: int) -> Report:
    """Retrieval on held-out data, both ways."""
    test = run.dataset("test")
    found = retrieval(run, test, seed)
    said = {"caption": ("caption", "it"), "picture": ("picture", "it")}
    rows = [
        Row(f"own {name} found", share, 1 / AMONG, nan, "higher", MEANING.format(*said[name]))
        for name, share in found.items()
    ]
    return Report(tuple(rows), {"held-out rows": len(test), "trained steps": run.step, "seed": seed})
