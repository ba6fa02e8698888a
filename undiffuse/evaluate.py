"""How good are a run's samples? Every measure against held-out data, beside what real data gets: its floor."""

from dataclasses import replace

import torch

from undiffuse.data.dataset import Dataset, random_labels
from undiffuse.errors import UserError
from undiffuse.measure.judge import Judge
from undiffuse.measure.report import Report, report
from undiffuse.run import Run
from undiffuse.samplers import SAMPLERS

COUNT = {"points": 5000, "pictures": 1000}  # samples, unless told otherwise


def evaluate(run: Run, count: int | None = None, seed: int = 0) -> Report:
    """``count`` samples by the recipe's sampler, with the labels of random training rows, drawn by ``seed``.

    Labelled data is also judged: a classifier trained on the training data says how many samples show the label that
    was asked for, beside how often it is right on held-out data, and its features serve the measures that need some.
    Data of which a program can tell right from wrong (`Piano`) is checked by it.

    Raises UserError for a count below 2, or where the data is gone.
    """
    count = COUNT[run.kind] if count is None else count
    if count < 2:
        raise UserError(f"count must be at least 2, not {count}")
    train, test = run.dataset("train"), run.dataset("test")
    test = test.take(torch.randperm(len(test), generator=torch.Generator().manual_seed(seed)))
    labels = random_labels(train, count, seed) if run.label_names else None
    samples = run.sample(count, label=labels, seed=seed)
    validity = getattr(run.recipe.data, "validity", None)
    found = report(
        samples.float(),
        test.x.float(),
        train=train.x.float(),
        labels=labels,
        judge=_judge(train, test, seed) if labels is not None else None,
        validity=validity() if validity else None,
        at_most=count,
        seed=seed,
    )
    recipe = run.recipe
    sampled: dict[str, int | float | str | None] = {
        "sampler": recipe.sampler,
        "steps": recipe.sampling_steps,
        "network evaluations": SAMPLERS[recipe.sampler].evaluations(recipe.sampling_steps),
        "guidance": recipe.guidance if run.label_names else None,
        "trained steps": run.step,
        "labels": "of random training rows" if labels is not None else None,
    }
    return replace(found, protocol=sampled | found.protocol)


def _judge(train: Dataset, test: Dataset, seed: int) -> Judge | None:
    """A classifier of the data; None where there are fewer than two labels to tell apart."""
    if train.labels is None or test.labels is None or len(train.labels.unique()) < 2:
        return None
    return Judge.train(train.x.float(), train.labels, test.x.float(), test.labels, seed=seed)
