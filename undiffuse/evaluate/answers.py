"""How good are the answers of a run that restores pictures? On held-out pictures, beside what needs no network.

PSNR of the mean answer     of several answers; beside that of the plain filling: bicubic, or the mean of what is
                            known
spread of answers           as a share of what their error calls for (`undiffuse.measure.answers`)
joint Frechet distance      of the judge's features of the picture and of what was left, together: an answer that is
                            good, but of another question, is far. Its floor is that of real pictures
"""

from collections.abc import Callable
from math import nan

import torch
import torch.nn.functional as F
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.data.dataset import Dataset
from undiffuse.data.source import Restored
from undiffuse.data.task import Inpainting, SuperResolution, about_one, as_large, entry_of
from undiffuse.evaluate.judged import judge_of
from undiffuse.measure.answers import calibration, psnr, together
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.report import Row
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling

EACH = 4  # answers to a question
SPAN = 2.0  # from black to white

PSNR = "decibels between the picture and the mean of {} answers; the floor needs no network: {}"
SPREAD = "of answers to one question, as a share of what their error calls for: 1 for draws of the posterior"
JOINT = "how far apart mean and covariance of features are, of picture and question together, squared{}"

Features = Callable[[Tensor], Tensor]
Answering = Callable[[Tensor, int], Tensor]  # of pictures x (count, *shape), so many answers each


def answer_rows(run: Run, test: Dataset, count: int, sampling: Sampling, extract: Features | None) -> list[Row]:
    """The rows of a run that restores pictures, of at most ``count`` answers; ``extract`` are other features than the
    judge's."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(sampling.seed))
    x = test.x[order[: max(2, count // EACH)]]

    def answer(x: Tensor, each: int) -> Tensor:
        left = run.left_of(x, sampling.seed)
        asked = run.conditions(len(x), {name: list(pictures) for name, pictures in left.items()})
        assert asked is not None
        repeated = asked[torch.arange(len(x)).repeat_interleave(each)]
        return run.draw(len(repeated), repeated, sampling).x.unflatten(0, (len(x), each))

    return rows_of(run, x, answer, sampling.seed, extract or judged(run))


def rows_of(run: Run, x: Tensor, answer: Answering, seed: int, extract: Features | None) -> list[Row]:
    """The rows of any way to answer; ``run`` says what is left of pictures x (count, *shape)."""
    assert run.task is not None
    left = entry_of(run.task, x, SeededNoise(seed)).values
    made, truth = about_one(answer(x, EACH)), about_one(x)
    how, fill = FILLED.get(type(run.task), ("", None))
    filled = None if fill is None else fill(left, truth)
    plainly = nan if filled is None else psnr(filled, truth, SPAN)
    found = [
        Row("PSNR of the mean answer", psnr(made.mean(1), truth, SPAN), plainly, nan, "higher", PSNR.format(EACH, how)),
        Row("spread of answers", calibration(made, truth), 1.0, nan, "near floor", SPREAD),
    ]
    if extract is None or len(x) < 4:
        return found
    asked, half = extract(stored(as_large(left, truth), x)), len(x) // 2
    real = together(extract(x.float()), asked)

    def joint(pictures: Tensor) -> float:
        """Of the first half of the questions, against real pictures of the second."""
        return frechet_distance(together(extract(stored(pictures, x)), asked)[:half], real[half : 2 * half])

    floor = frechet_distance(real[:half], real[half : 2 * half])
    found.append(Row("joint Frechet distance", joint(made[:, 0]), floor, nan, "lower", JOINT.format("")))
    if filled is not None:
        name = f"joint Frechet distance, {how}"
        found.append(Row(name, joint(filled), floor, nan, "lower", JOINT.format(" of the plain filling")))
    return found


def judged(run: Run) -> Features | None:
    """The features of the judge of its pictures, by the labels that the run is not told; None where there are none."""
    own = run.recipe.data
    assert isinstance(own, Restored)
    judge = judge_of(run, own.of.open("train").typical(), own.of.open("test").typical())
    return None if judge is None else judge.features


def stored(x: Tensor, like: Tensor) -> Tensor:
    """Pictures about [-1, 1] in the units of others, as numbers."""
    return (127.5 * (x + 1)).round().clamp(0, 255) if like.dtype == torch.uint8 else x


def bicubic(left: Tensor, like: Tensor) -> Tensor:
    """Enlarged between the pixels, smoothly."""
    return F.interpolate(left[:, : like.shape[1]], size=like.shape[2:], mode="bicubic").clamp(-1, 1)


def mean_filled(left: Tensor, like: Tensor) -> Tensor:
    """Each hole in the mean colour of what is known of its picture."""
    shown, known = left[:, : like.shape[1]], left[:, like.shape[1] : like.shape[1] + 1] == 1
    mean = (shown * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
    return torch.where(known, shown, mean)


FILLED: dict[type, tuple[str, Callable[[Tensor, Tensor], Tensor] | None]] = {
    SuperResolution: ("bicubic", bicubic),
    Inpainting: ("mean filling", mean_filled),
}
