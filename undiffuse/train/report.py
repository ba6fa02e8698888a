"""Reports during training: samples of the averaged weights, always from the same noise, are drawn, measured and
logged."""

from pathlib import Path

import torch

from undiffuse.core.files import write_atomically
from undiffuse.data.dataset import Dataset
from undiffuse.evaluate.noisy_accuracy import noisy_accuracy
from undiffuse.kind import kind_of
from undiffuse.kind.kind import Progress, Reporter
from undiffuse.run.run import Run
from undiffuse.run.shown import PICTURES
from undiffuse.train.log import Log


def reporter_of(train: Dataset, held_out: Dataset, seed: int, is_classifier: bool) -> Reporter:
    """What reports on one training: its kind of data, or, for a classifier, its accuracy by noise level."""
    kind = kind_of(held_out)
    if not is_classifier:
        return kind.reporter(train, held_out, seed)
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))
    return classifier_reporter(held_out.take(order[: 2 * kind.reported]), seed)


def classifier_reporter(held_out: Dataset, seed: int) -> Reporter:
    """The share of held-out rows whose labels are all predicted correctly, by noise level."""

    def report(run: Run) -> Progress:
        found = {level: right for level, (right, _) in noisy_accuracy(run, held_out, seed).items()}
        line = ", ".join(f"{right:.0%} right at noise {level:g}" for level, right in found.items())
        return Progress(line, {f"accuracy at noise {level:g}": right for level, right in found.items()})

    return report


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
