"""Reports during training: samples of the averaged weights, always from the same noise, are drawn, measured and
logged."""

from collections.abc import Callable
from pathlib import Path

import torch

from undiffuse.core.files import write_atomically
from undiffuse.data.dataset import Dataset
from undiffuse.evaluate.noisy_accuracy import noisy_accuracy
from undiffuse.evaluate.retrieval import retrieval
from undiffuse.kind import kind_of
from undiffuse.kind.kind import Progress, Reporter
from undiffuse.recipe.model import Model, NoisyClassifier, PictureText
from undiffuse.run.run import Run
from undiffuse.run.shown import PICTURES
from undiffuse.train.log import Log


def reporter_of(train: Dataset, held_out: Dataset, seed: int, model: Model) -> Reporter:
    """What reports on one training: its kind of data; of a model that does not sample, what measures that."""
    kind = kind_of(held_out)
    if type(model) not in REPORTERS:
        return kind.reporter(train, held_out, seed)
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))
    return REPORTERS[type(model)](held_out.take(order[: 2 * kind.reported]), seed)


def classifier_reporter(held_out: Dataset, seed: int) -> Reporter:
    """The share of held-out rows whose labels are all predicted correctly, by noise level."""

    def report(run: Run) -> Progress:
        found = {level: right for level, (right, _) in noisy_accuracy(run, held_out, seed).items()}
        line = ", ".join(f"{right:.0%} right at noise {level:g}" for level, right in found.items())
        return Progress(line, {f"accuracy at noise {level:g}": right for level, right in found.items()})

    return report


def retrieval_reporter(held_out: Dataset, seed: int) -> Reporter:
    """The share of held-out rows that find their own among a hundred."""

    def report(run: Run) -> Progress:
        found = {f"own {name} found": share for name, share in retrieval(run, held_out, seed).items()}
        return Progress(", ".join(f"{name} {share:.0%}" for name, share in found.items()), found)

    return report


REPORTERS: dict[type, Callable[[Dataset, int], Reporter]] = {
    NoisyClassifier: classifier_reporter,
    PictureText: retrieval_reporter,
}


def written(run: Run, progress: Progress, log: Log, preview: Path | None = None) -> str:
    """Log the numbers, draw into ``pictures/STEP.png``, and into ``preview``; the line for a person."""
    if progress.picture is not None:
        folder = run.folder / PICTURES
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{run.step:09d}.png", progress.picture.save)
        if preview:
            write_atomically(preview, progress.picture.save)
        log.picture(run.step, "samples", progress.picture)
    log.write(run.step, progress.numbers)
    return f"step {run.step:,}: {progress.line}"
