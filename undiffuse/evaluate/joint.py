"""Pictures drawn together with their labels by one network: labels given pictures, and how well each follows the other.

    run.draw(64)                  pictures and labels of the joint distribution   p(x, y)
    run.draw(64, label="3")       pictures given the label                        p(x | y)
    label_probabilities(run, pictures)      how likely each label is, given the picture     p(y | x)

Such a run is trained with the codec `undiffuse.codec.labelled`; the recipe is `digits-joint`.
"""

from math import nan
from typing import cast

import torch
from torch import Tensor

from undiffuse.codec.labelled import LabelledCodec
from undiffuse.condition.label import labels_of
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, judged_rows, random_conditions
from undiffuse.measure.judge import Judge
from undiffuse.measure.report import Row
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling

BATCH = 2000  # pictures read at once
MIDWAY = 0.5  # the time at which labels are read: with the picture given, what is true of them is so at any

GIVEN_LABEL = "the share of pictures, drawn given a label, that the judge reads so; the floor is of real ones"
GIVEN_PICTURE = "the share of held-out pictures of which the run itself tells the label; the floor is the judge's"


@torch.no_grad()
def label_probabilities(run: Run, pictures: Tensor) -> Tensor:
    """p(label | picture) of uint8 pictures (count, channels, height, width): (count, classes) float32, on the CPU.

    One evaluation: every pixel is given, the label is masked. Raises UserError for a run that draws no labels, or
    pictures of another shape.
    """
    if not run.is_joint:
        raise UserError(f"{run.folder}: makes {run.kind} without labels of their own; train one with: digits-joint")
    codec = cast(LabelledCodec, run.codec)
    if tuple(pictures.shape[1:]) != codec.shape or pictures.dtype != torch.uint8:
        shape = ", ".join(map(str, codec.shape))
        raise UserError(f"pictures here are (count, {shape}) torch.uint8, not {tuple(pictures.shape)} {pictures.dtype}")
    found = [torch.empty(0, codec.classes)]
    for piece in pictures.split(BATCH):
        rows = codec.encode(piece.to(run.device))
        given = torch.ones(len(rows), rows.shape[1] - 1, dtype=torch.bool, device=rows.device)
        found.append(run.denoiser(rows, MIDWAY, given=given).logits[:, 0].softmax(-1).cpu())
    return torch.cat(found)


def one_given_the_other(
    run: Run, judge: Judge, train: Dataset, test: Dataset, count: int, sampling: Sampling
) -> tuple[Row, Row]:
    """How well pictures follow given labels, and how well labels follow given held-out pictures."""
    conditions = random_conditions(train, count, sampling.seed)
    given = labels_of(conditions, train.specifications)
    assert given is not None  # there is a judge of them
    pictures = run.draw(count, conditions, sampling).x
    x, labels = judged_rows(test)
    follows = float((judge.predict(pictures.float()) == given).double().mean())
    read = float((label_probabilities(run, x).argmax(1) == labels).double().mean())
    return (
        Row("picture given the label", follows, judge.accuracy, nan, "higher", GIVEN_LABEL),
        Row("label given the picture", read, judge.accuracy, nan, "higher", GIVEN_PICTURE),
    )
