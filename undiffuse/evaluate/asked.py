"""Do pictures show what their captions say? A program reads them, and says which facts of a caption hold.

A source that draws its own scenes has `questions()`: captions that were not trained on, and the checker of the answers.
For each set of questions, two numbers beside those of the real pictures of these captions:

    facts       the share of all facts that hold, each attribute, count, relation and absence being one
    captions    the share of captions of which every fact holds
"""

from math import nan

import torch

from undiffuse.data.synthetic.shapes.facts import Fact
from undiffuse.data.synthetic.shapes.shapes import Question, Questions
from undiffuse.measure.report import Row
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling

FACTS = "the share of the captions' facts that a program finds in the samples: {}"
CAPTIONS = "the share of samples in which it finds every fact of their caption: {}"


def questions_of(run: Run) -> Questions | None:
    """What the samples of a run can be asked; None where no program can check them."""
    ask = getattr(run.recipe.data, "questions", None)
    return ask() if ask and run.specifications and not run.recipe.of_vectors else None


def asked_rows(run: Run, questions: Questions, count: int, sampling: Sampling) -> list[Row]:
    """The share of facts and of captions that are right, of each set of questions; the floor is of real pictures."""
    rows = []
    for name, question in questions.sets.items():
        some = chosen(question, count, sampling.seed)
        samples = run.draw(len(some.x), some.conditions, sampling).x
        made, real = (shares(questions.check(x, some.captions)) for x in (samples, some.x))
        for called, meaning, k in (("facts", FACTS, 0), ("captions", CAPTIONS, 1)):
            rows.append(Row(f"{called} right, {name}", made[k], real[k], nan, "higher", meaning.format(name)))
    return rows


def chosen(question: Question, count: int, seed: int) -> Question:
    """At most ``count`` of the questions, drawn by ``seed``."""
    rows = torch.randperm(len(question.x), generator=torch.Generator().manual_seed(seed))[:count]
    captions = tuple(question.captions[k] for k in rows.tolist())
    return Question(question.x[rows], question.conditions[rows], captions)


def shares(found: list[list[Fact]]) -> tuple[float, float]:
    """The share of facts that hold, and of captions of which all do."""
    every = [fact.holds for facts in found for fact in facts]
    return sum(every) / len(every), sum(all(fact.holds for fact in facts) for facts in found) / len(found)
