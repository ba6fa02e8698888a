"""Several answers of a run that restores pictures, to look at: what was left, the answers, and what it was."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from undiffuse.data.dataset import Dataset
from undiffuse.data.task import as_large
from undiffuse.draw.pictures import pictures
from undiffuse.run.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

ASKED, ANSWERS = 8, 6


def answers_sheet(run: Run, held_out: Dataset, seed: int) -> "Image":
    """A row for each of some held-out pictures: what is left of it, answers, and the picture."""
    chosen = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))[:ASKED]
    some = held_out.take(chosen)
    assert some.conditions is not None and run.task is not None
    each = some.conditions[torch.arange(len(chosen)).repeat_interleave(ANSWERS)]
    made = run.draw(len(each), each, run.sampling.override(seed=seed)).x.view(len(chosen), ANSWERS, *run.shape)
    left = looked_at(some.conditions.entries[run.task.condition].values, some.x)
    return pictures(torch.cat([left[:, None], made, some.x[:, None]], 1).flatten(0, 1), columns=ANSWERS + 2)


def looked_at(left: Tensor, like: Tensor) -> Tensor:
    """What is left, of any channels and size about [-1, 1], as pictures of the shape and type of others."""
    whole = as_large(left, like)
    return (127.5 * (whole + 1)).round().clamp(0, 255).to(like.dtype) if like.dtype == torch.uint8 else whole
