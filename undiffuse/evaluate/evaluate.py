"""How good are a run's samples? Every measure against held-out data, beside what real data gets: its floor."""

import math
from dataclasses import replace
from math import nan
from typing import Literal

import torch
from torch import Tensor

from undiffuse.condition.label import combined
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import Dataset, labelled, random_labels
from undiffuse.evaluate.bits import token_bits
from undiffuse.evaluate.judged import judge_of
from undiffuse.evaluate.noisy_accuracy import noisy_accuracy
from undiffuse.kind.joint import draw, labels_of
from undiffuse.measure.inception import inception_features
from undiffuse.measure.judge import Judge
from undiffuse.measure.report import Report, Row, report
from undiffuse.measure.table import table_report
from undiffuse.measure.text import text_report
from undiffuse.run.guidance import Guidance
from undiffuse.run.run import Run

COUNT = {"points": 5000, "pictures": 1000, "table": 5000, "tokens": 200}  # samples, unless told otherwise

FEWEST = 6  # points or pictures that have five neighbours
READ = 1000  # held-out pieces of text, of which bits are counted

BITS = "what a held-out token costs, by the variational bound; the floor is the entropy, where it is known"
GIVEN_LABEL = "the share of pictures, drawn given a label, that the judge reads so; the floor is of real ones"
GIVEN_PICTURE = "the share of held-out pictures of which the run itself tells the label; the floor is the judge's"

Features = Literal["judge", "inception"]


def evaluate(
    run: Run,
    count: int | None = None,
    seed: int = 0,
    target: str | None = None,
    features: Features = "judge",
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> Report:
    """``count`` samples, with the labels of random training rows, drawn by ``seed``; made as the recipe says, or so.

    Labelled data is also judged: a classifier trained on the training data says how many samples show the label that
    was asked for, beside how often it is right on held-out data, and its features serve the measures that need some.
    Data of which a program can tell right from wrong (`Piano`) is checked by it. Several attributes are judged as one
    label, their combination. A table is measured as `undiffuse.measure.table` says, ``target`` being the column to be
    predicted of the others (the last category). Of a text the bits a token are counted, and what its
    samples are made of is compared. A classifier samples nothing: its accuracy by noise level is reported. Of pictures
    that are drawn with their labels it is these labels that are judged; and so is each of the two given the other.

    Raises UserError for a count below 2 (of points and pictures below 6, or as few held-out ones), or where the data is
    gone.
    """
    count = COUNT[run.kind] if count is None else count
    if count < 2:
        raise UserError(f"count must be at least 2, not {count}")
    if run.is_classifier:
        return _examined(run, seed)
    train, test = run.dataset("train"), run.dataset("test")
    if run.kind in ("points", "pictures") and min(count, len(test)) < FEWEST:
        few = f"{count} samples and {len(test)} held-out rows are too few"
        raise UserError(f"{few}: {run.kind} are measured on at least {FEWEST} of each")
    if run.kind == "table":
        samples = run.sample(count, seed=seed, sampler=sampler, steps=steps, guidance=guidance)
        found = table_report(samples, test.x, train.x, test.schema, target, seed)
        return replace(found, protocol=_sampled(run, sampler, steps, guidance) | found.protocol)
    if run.kind == "tokens":
        samples = run.sample(count, seed=seed, sampler=sampler, steps=steps, guidance=guidance)
        return _of_text(run, samples, train, test, seed, _sampled(run, sampler, steps, guidance))
    extract = inception_features(device=run.device) if features == "inception" else None
    samples, labels = _samples(run, train, count, seed, sampler, steps, guidance)
    judge = judge_of(run, train, test) if labels is not None else None
    test = test.take(torch.randperm(len(test), generator=torch.Generator().manual_seed(seed)))
    asked, names = combined(labels, run.label_names)
    held_out_labels = combined(test.labels, test.label_names)[0]
    validity = getattr(run.recipe.data, "validity", None)
    found = report(
        samples.float(),
        test.x.float(),
        train=train.x.float(),
        labels=asked,
        judge=judge,
        held_out_labels=held_out_labels,
        label_names=names,
        features=extract,
        validity=validity() if validity else None,
        at_most=count,
        seed=seed,
    )
    said = "drawn with the pictures" if run.is_joint else "of random training rows"
    drawn = {"labels": said if labels is not None else None}
    protocol = found.protocol | ({"features": "Inception's"} if extract else {})
    if run.is_joint and judge is not None:
        found = replace(found, rows=(*found.rows, *_one_given_the_other(run, judge, train, test, count, steps, seed)))
    return replace(found, protocol=_sampled(run, sampler, steps, guidance) | drawn | protocol)


def _samples(
    run: Run,
    train: Dataset,
    count: int,
    seed: int,
    sampler: str | None,
    steps: int | None,
    guidance: float | None,
) -> tuple[Tensor, Tensor | None]:
    """Samples, and the labels that they were asked to be, or were drawn with; None of a run without."""
    if run.is_joint:
        return draw(run, count, None, steps, sampler, guidance, seed)
    labels = random_labels(train, count, seed) if run.label_names else None
    return run.sample(count, labels, steps, sampler, guidance, seed), labels


def _one_given_the_other(
    run: Run, judge: Judge, train: Dataset, test: Dataset, count: int, steps: int | None, seed: int
) -> tuple[Row, Row]:
    """How well pictures follow the labels they are drawn given, and labels the held-out pictures they are given."""
    asked = random_labels(train, count, seed)
    assert asked is not None  # there is a judge of them
    pictures = run.sample(count, asked, steps, seed=seed)
    x, labels = labelled(test)
    read = float((judge.predict(pictures.float()) == asked).double().mean())
    told = float((labels_of(run, x).argmax(1) == labels).double().mean())
    return (
        Row("picture given the label", read, judge.accuracy, nan, "higher", GIVEN_LABEL),
        Row("label given the picture", told, judge.accuracy, nan, "higher", GIVEN_PICTURE),
    )


def _of_text(
    run: Run, samples: Tensor, train: Dataset, test: Dataset, seed: int, how: dict[str, int | float | str | None]
) -> Report:
    """Bits a token of held-out text, by the bound, and what samples are made of."""
    assert test.alphabet is not None
    entropy = getattr(run.recipe.data, "entropy", None)
    floor = entropy() / math.log(2) / test.x[0].numel() if entropy else nan
    some = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))[:READ]
    bits = token_bits(run, test.take(some), seed=seed)
    error: dict[str, int | float | str | None] = {
        "standard error of the bits": bits.error,
        "rows of the bits": bits.repeats,
    }
    found = text_report(samples, test.x, train.x, test.alphabet, seed)
    row = Row("bits a token", bits.mean, floor, nan, "lower", BITS)
    return replace(found, rows=(row, *found.rows), protocol=how | found.protocol | error)


def _sampled(
    run: Run, sampler: str | None, steps: int | None, guidance: float | None
) -> dict[str, int | float | str | None]:
    """How the samples were made."""
    plan = run.plan(steps, sampler, guidance)
    return {
        "sampler": plan.sampler,
        "steps": len(plan.times) - 1,
        "network evaluations": plan.evaluations,
        "guidance": Guidance(guidance).weight_for(run) if run.label_names else None,
        "trained steps": run.step,
    }


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
