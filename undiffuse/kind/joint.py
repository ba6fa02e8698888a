"""A picture with its label, of one network: both, the picture given the label, or the label given the picture.

    draw(run, 64)                 pictures and labels of the joint law            p(x, y)
    draw(run, 64, label="3")      pictures given the label                        p(x | y)
    labels_of(run, pictures)      how likely each label is, given the picture     p(y | x)

A run of this kind is trained with the codec `undiffuse.codec.labelled`; the recipe is `digits-joint`.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from undiffuse.codec.labelled import LabelledCodec
from undiffuse.condition.label import Label
from undiffuse.core.errors import UserError

if TYPE_CHECKING:
    from undiffuse.run.guidance import Guidance
    from undiffuse.run.run import Run

BATCH = 2000  # pictures read at once
MIDWAY = 0.5  # the time at which labels are read: with the picture given, what is true of them is so at any


class Drawn(NamedTuple):
    """What was drawn together."""

    pictures: Tensor  # (count, channels, height, width) uint8
    labels: Tensor  # (count,) int64


def draw(
    run: "Run",
    count: int,
    label: Label | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: "float | Guidance | None" = None,
    seed: int = 0,
    grid: str | None = None,
) -> Drawn:
    """Pictures and their labels; where ``label`` says one, that, and "none" or nothing leaves it open.

    The pictures are those of ``run.sample`` of the same arguments. Raises UserError as that does, and for a run that
    draws no labels.
    """
    codec = _codec(run)
    rows = run.sample(count, label, steps, sampler, guidance, seed, grid=grid, decoded=False).to(run.device)
    return Drawn(codec.decode(rows).cpu(), codec.label(rows).cpu())


@torch.no_grad()
def labels_of(run: "Run", pictures: Tensor) -> Tensor:
    """p(label | picture) of uint8 pictures (count, channels, height, width): (count, classes) float32, on the CPU.

    One evaluation: every pixel is given, the label is masked. Raises UserError for a run that draws no labels, or
    pictures of another shape.
    """
    codec = _codec(run)
    if tuple(pictures.shape[1:]) != codec.shape or pictures.dtype != torch.uint8:
        shape = ", ".join(map(str, codec.shape))
        raise UserError(f"pictures here are (count, {shape}) torch.uint8, not {tuple(pictures.shape)} {pictures.dtype}")
    read = [torch.empty(0, codec.classes)]
    for piece in pictures.split(BATCH):
        rows = codec.encode(piece.to(run.device))
        given = torch.ones(len(rows), rows.shape[1] - 1, dtype=torch.bool, device=rows.device)
        read.append(run.denoiser(rows, MIDWAY, given).logits[:, 0].softmax(-1).cpu())
    return torch.cat(read)


def _codec(run: "Run") -> LabelledCodec:
    if not isinstance(run.codec, LabelledCodec):
        raise UserError(f"{run.folder}: makes {run.kind} without labels of their own; train one with: digits-joint")
    return run.codec
