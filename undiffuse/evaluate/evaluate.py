"""How good are a run's samples? Every measure compares them with held-out data; its floor is what real data gets.

A kind of data says which of these is its own (`undiffuse.kind`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Literal

import torch

from undiffuse.condition.label import combined, labels_of
from undiffuse.core.errors import UserError
from undiffuse.data.dataset import random_conditions
from undiffuse.data.synthetic.checkable.checkable import Checkable
from undiffuse.evaluate.agreement import agreement_rows
from undiffuse.evaluate.answers import answer_rows
from undiffuse.evaluate.asked import asked_rows, questions_of
from undiffuse.evaluate.bits import token_bits
from undiffuse.evaluate.joint import one_given_the_other
from undiffuse.evaluate.judged import judge_of
from undiffuse.evaluate.noisy_accuracy import noisy_accuracy
from undiffuse.evaluate.valid import commonest, faults, valid_rows
from undiffuse.measure.inception import inception_features
from undiffuse.measure.report import MEASURES, Measure, Report, Row, report
from undiffuse.measure.table import table_report
from undiffuse.measure.text import text_report
from undiffuse.run.beside import knows, typical
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling

FEWEST = 6  # points or pictures that have five neighbours
READ = 1000  # held-out pieces of text, of which bits are counted

BITS = "what a held-out token costs, by the variational bound; the floor is the entropy, where it is known"

Features = Literal["judge", "inception"]


Protocol = dict[str, int | float | str | None]


def of_samples(
    run: Run,
    count: int,
    sampling: Sampling,
    items: str,
    features: Features = "judge",
    measures: Sequence[Measure] = MEASURES,
) -> Report:
    """``count`` samples, with the labels of random training rows, against held-out rows: points or pictures.

    Labelled data is also judged: a classifier trained on the training data says how many samples show the label that
    they were given, beside its own accuracy on held-out data; measures that need features use this classifier's. If a
    program can check the data (`Piano`), it does; if it can check what captions ask for (`Shapes`), samples of captions
    that were not trained on are checked too. Several attributes are judged as one label, their combination. If
    pictures are drawn with their labels, the drawn labels are judged, and so are pictures given labels and labels given
    pictures.

    Raises UserError if either side has fewer than FEWEST rows, or if the data is gone.
    """
    train, test, seed = run.dataset("train").typical(), run.dataset("test").typical(), sampling.seed
    if min(count, len(test)) < FEWEST:
        few = f"{count} samples and {len(test)} held-out rows are too few"
        raise UserError(f"{few}: {items} are measured on at least {FEWEST} of each")
    extract = inception_features(device=run.device) if features == "inception" else None
    requested = None if run.is_joint else typical(run, count, seed, train)
    samples, conditions = run.draw(count, requested, sampling)
    its_own = knows(run, train)  # else labels of the data are not those that it knows
    labels = labels_of(conditions, run.specifications) if its_own else None
    judge = judge_of(run, train, test) if labels is not None else None
    combination, names = combined(labels, run.label_names)
    validity = getattr(run.recipe.data, "validity", None)
    found = report(
        samples.float(),
        test.x.float(),
        train=train.x.float(),
        labels=combination,
        judge=judge,
        held_out_labels=combined(test.labels, test.label_names)[0] if its_own else None,
        label_names=names,
        features=extract,
        measures=measures,
        validity=validity() if validity else None,
        at_most=count,
        seed=seed,
    )
    said = "drawn with the pictures" if run.is_joint else "of random training rows"
    drawn: Protocol = {"conditions": said if conditions is not None else None}
    protocol = found.protocol | ({"features": "Inception's"} if extract else {})
    asked = questions_of(run)
    told = asked_rows(run, asked, count, sampling) if asked else []
    agreement = agreement_rows(samples, requested, train, test, seed) if its_own else ()
    answers = answer_rows(run, test, count, sampling, extract) if run.task is not None else []
    found = replace(found, rows=(*found.rows, *agreement, *told, *answers))
    if run.is_joint and judge is not None:
        found = replace(found, rows=(*found.rows, *one_given_the_other(run, judge, train, test, count, sampling)))
    return replace(found, protocol=_sampled(run, sampling) | drawn | protocol)


def of_table(run: Run, count: int, sampling: Sampling, target: str | None = None) -> Report:
    """The measures of `undiffuse.measure.table`; ``target`` is the column to predict from the others (default: the last
    category).

    Raises UserError as they do, or if the data is gone.
    """
    train, test = run.dataset("train"), run.dataset("test")
    requested = random_conditions(train, count, sampling.seed) if run.specifications else None
    samples = run.draw(count, requested, sampling).x
    found = table_report(samples, test.x, train.x, test.schema, target, sampling.seed)
    rows = (*found.rows, *agreement_rows(samples, requested, train, test, sampling.seed))
    return replace(found, rows=rows, protocol=_sampled(run, sampling) | found.protocol)


def of_text(run: Run, count: int, sampling: Sampling) -> Report:
    """Bits a token of held-out text, by the bound, and what samples are made of; if a program can check them, it
    does."""
    train, test = run.dataset("train").typical(), run.dataset("test").typical()
    seed, source = sampling.seed, run.recipe.data
    samples = run.draw(count, sampling=sampling).x
    assert test.alphabet is not None
    entropy = getattr(source, "entropy", None)
    floor = entropy() / math.log(2) / test.x[0].numel() if entropy else nan
    some = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))[:READ]
    bits = token_bits(run, test.take(some), seed=seed)
    error: Protocol = {"standard error of the bits": bits.error, "rows of the bits": bits.repeats}
    found = text_report(samples, test.x, train.x, test.alphabet, seed)
    rows = [Row("bits a token", bits.mean, floor, nan, "lower", BITS)]
    if isinstance(source, Checkable):
        rows += valid_rows(source, samples, test.x, seed)
        error |= {"faults": commonest(faults(source, samples))}
    return replace(found, rows=(*rows, *found.rows), protocol=_sampled(run, sampling) | found.protocol | error)


def of_classifier(run: Run, seed: int) -> Report:
    """The accuracy of a classifier on held-out data, beside that of always guessing the most common label."""
    test = run.dataset("test")
    found = noisy_accuracy(run, test, seed)
    meaning = "the share of held-out rows whose label is told through this much noise; the floor guesses the commonest"
    rows = [
        Row(f"accuracy at noise {level:g}", right, guess, nan, "higher", meaning)
        for level, (right, guess) in found.items()
    ]
    return Report(tuple(rows), {"held-out rows": len(test), "trained steps": run.step, "seed": seed})


def _sampled(run: Run, sampling: Sampling) -> Protocol:
    """How the samples were made."""
    plan = run.plan(sampling)
    return {
        "sampler": plan.sampler,
        "steps": len(plan.times) - 1,
        "network evaluations": plan.evaluations,
        "guidance": plan.weight if run.specifications else None,
        "trained steps": run.step,
    }
