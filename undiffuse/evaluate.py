"""How good are a run's samples? Every measure against held-out data, beside what real data gets: its floor."""

from dataclasses import replace
from math import nan

import torch

from undiffuse.data.dataset import Dataset, labelled, random_labels
from undiffuse.errors import UserError
from undiffuse.label import combined
from undiffuse.measure.judge import Judge
from undiffuse.measure.noisy_accuracy import noisy_accuracy
from undiffuse.measure.report import Report, Row, report
from undiffuse.measure.table import table_report
from undiffuse.run import Run
from undiffuse.samplers import SAMPLERS

COUNT = {"points": 5000, "pictures": 1000, "table": 5000}  # samples, unless told otherwise


def evaluate(run: Run, count: int | None = None, seed: int = 0, target: str | None = None) -> Report:
    """``count`` samples by the recipe's sampler, with the labels of random training rows, drawn by ``seed``.

    Labelled data is also judged: a classifier trained on the training data says how many samples show the label that
    was asked for, beside how often it is right on held-out data, and its features serve the measures that need some.
    Data of which a program can tell right from wrong (`Piano`) is checked by it. Several attributes are judged as one
    label, their combination. A table is measured as `undiffuse.measure.table` says, ``target`` being the column to be
    predicted of the others (the last category). A classifier samples nothing: its accuracy by noise level is reported.

    Raises UserError for a count below 2, or where the data is gone.
    """
    count = COUNT[run.kind] if count is None else count
    if count < 2:
        raise UserError(f"count must be at least 2, not {count}")
    if run.is_classifier:
        return _examined(run, seed)
    train, test = run.dataset("train"), run.dataset("test")
    if run.kind == "table":
        found = table_report(run.sample(count, seed=seed), test.x, train.x, test.schema, target, seed)
        return replace(found, protocol=_sampled(run) | found.protocol)
    test = test.take(torch.randperm(len(test), generator=torch.Generator().manual_seed(seed)))
    labels = random_labels(train, count, seed) if run.label_names else None
    samples = run.sample(count, label=labels, seed=seed)
    validity = getattr(run.recipe.data, "validity", None)
    found = report(
        samples.float(),
        test.x.float(),
        train=train.x.float(),
        labels=combined(labels, run.label_names)[0],
        judge=_judge(train, test, seed) if labels is not None else None,
        validity=validity() if validity else None,
        at_most=count,
        seed=seed,
    )
    asked = {"labels": "of random training rows" if labels is not None else None}
    return replace(found, protocol=_sampled(run) | asked | found.protocol)


def _sampled(run: Run) -> dict[str, int | float | str | None]:
    """How the samples were made."""
    recipe = run.recipe
    return {
        "sampler": recipe.sampler,
        "steps": recipe.sampling_steps,
        "network evaluations": SAMPLERS[recipe.sampler].evaluations(recipe.sampling_steps),
        "guidance": recipe.guidance if run.label_names else None,
        "trained steps": run.step,
    }


def _judge(train: Dataset, test: Dataset, seed: int) -> Judge | None:
    """A classifier of the rows whose labels are known; None where there are fewer than two labels to tell apart."""
    (x, labels), (held_out, held_out_labels) = (labelled(data) for data in (train, test))
    if len(labels.unique()) < 2 or not len(held_out):
        return None
    return Judge.train(x.float(), labels, held_out.float(), held_out_labels, seed=seed)


def _examined(run: Run, seed: int) -> Report:
    """The accuracy of a classifier on held-out data, beside that of always guessing the commonest label."""
    test = run.dataset("test")
    found = noisy_accuracy(run, test, seed)
    meaning = "the share of held-out rows whose label is told through this much noise; the floor guesses the commonest"
    rows = [
        Row(f"accuracy at noise {level:g}", right, guess, nan, "higher", meaning)
        for level, (right, guess) in found.items()
    ]
    return Report(tuple(rows), {"held-out rows": len(test), "trained steps": run.step, "seed": seed})
