"""How good is one evaluation, by every method at equal time? python -m benchmarks.few_steps [--recipe digits]

Trains a teacher by its recipe, or takes that of --teacher, and then each method of `undiffuse distill` for the same
seconds of the processor (--seconds, 60, on --threads), over --seeds trainings: the methods that need a teacher, and
those that do not, which here begin with the teacher's weights too. With --scratch, methods from data alone, for the
seconds of teacher and student together. A row is a method at 1, 2 or 4 evaluations, the mean and the standard error:

points      the sliced Wasserstein distance from held-out points over its floor, each the mean of as many lots of 5,000
            rows as the data has: of one lot the distance is off by a fifth and more
pictures    the Frechet distance over its floor, the share read as the label asked for, and the coverage

The first row is the teacher at 20 evaluations.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from undiffuse.evaluate.evaluate import of_samples
from undiffuse.evaluate.judged import FILE as JUDGE
from undiffuse.loss.methods import METHODS
from undiffuse.measure import sliced_wasserstein
from undiffuse.measure.estimate import estimate
from undiffuse.measure.report import MEASURES
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.distill import student
from undiffuse.train.loop import train

EVALUATIONS = (1, 2, 4)
TEACHER = 20  # evaluations that the teacher is compared by
TRIED = 40  # steps that tell how long a step takes
LOT = 5_000  # rows of points
PICTURES = 1_000  # that are read and compared
NEEDED = [one for one in MEASURES if {number.name for number in one.numbers} & {"Frechet distance", "coverage"}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="swiss-roll", choices=sorted(RECIPES))
    parser.add_argument("--teacher", type=Path, help="a trained run, in place of training the recipe")
    parser.add_argument("--methods", default=",".join(METHODS), help="those of undiffuse distill, by name")
    parser.add_argument("--scratch", default="", help="of them, those to train from scratch too")
    parser.add_argument("--recipes", default="", help="recipes of few steps, trained as they are")
    parser.add_argument("--students", nargs="*", default=[], type=Path, help="runs that were distilled before")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the processor")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the runs here")
    parser.add_argument("--teacher-steps", type=int, help="fewer than the recipe's, to try this out")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with nullcontext(asked.out) if asked.out else tempfile.TemporaryDirectory() as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        teacher = load(asked.teacher) if asked.teacher else taught(asked.recipe, asked.teacher_steps, Path(folder))
        table = Table(teacher)
        for path in asked.students:
            table.row(path.name, [load(path)])
        for name in filter(None, asked.methods.split(",")):
            table.row(name, by_time(name, teacher, asked.seconds, asked.seeds, Path(folder)))
        for name in filter(None, asked.scratch.split(",")):
            seconds = asked.seconds + teacher.seconds
            table.row(f"{name}, from scratch", by_time(name, teacher, seconds, asked.seeds, Path(folder), True))
        for name in filter(None, asked.recipes.split(",")):
            recipe = RECIPES[name]()
            table.row(name, [made(recipe.changed(seed=seed), Path(folder), None) for seed in range(asked.seeds)])


def taught(name: str, steps: int | None, folder: Path) -> Run:
    """The teacher, by its recipe."""
    recipe = RECIPES[name]().changed(**{"steps": steps} if steps else {})
    return train(quietly(recipe), folder / "teacher", quiet=True)


def by_time(name: str, teacher: Run, seconds: float, seeds: int, folder: Path, scratch: bool = False) -> list[Run]:
    """``seeds`` trainings of one method, of about so many ``seconds`` each."""
    recipe, given = student(teacher, METHODS[name]()), None if scratch else teacher

    def pace(steps: int) -> float:
        """Steps a second, of so many."""
        start = time.process_time()
        made(recipe.changed(steps=steps), folder, given)
        return steps / (time.process_time() - start)

    pace(TRIED)  # loads what is needed
    steps = round(pace(max(TRIED, round(pace(TRIED) * seconds / 20))) * seconds)
    return [made(recipe.changed(steps=steps, seed=seed), folder, given) for seed in range(seeds)]


def made(recipe: Recipe, folder: Path, teacher: Run | None) -> Run:
    """The run, trained in a new folder."""
    return train(quietly(recipe), Path(tempfile.mkdtemp(dir=folder)) / "run", quiet=True, teacher=teacher)


def quietly(recipe: Recipe) -> Recipe:
    """The recipe with one report and one save, at the end."""
    steps = recipe.training.steps
    return recipe.changed(report_every=steps, save_every=steps)


class Table:
    """Rows of methods, each beside what its teacher does in 20 evaluations."""

    def __init__(self, teacher: Run) -> None:
        self.teacher = teacher
        self.measure = of_pictures if teacher.label_names else partial(of_points, floor=floor(teacher))
        first = self.measure(teacher, teacher.sampling.override(steps=TEACHER))
        print(f"{'':36}{'steps':>7}  evaluations{''.join(f'{name:>22}' for name in first)}")
        self.say("teacher", teacher.step, TEACHER, [first])

    def row(self, name: str, runs: Sequence[Run]) -> None:
        """One method, at each number of evaluations that it takes; pictures are judged by the teacher's judge."""
        for run in runs:
            with suppress(FileNotFoundError):
                shutil.copy(self.teacher.folder / JUDGE, run.folder / JUDGE)
        for count in EVALUATIONS:
            if runs[0].most is None or count <= runs[0].most:
                found = [self.measure(run, run.sampling.override(steps=count)) for run in runs]
                self.say(name, runs[0].step, count, found)

    def say(self, name: str, steps: int, evaluations: int, found: Sequence[dict[str, float]]) -> None:
        """One line."""
        cells = (f"{estimate([one[key] for one in found])!s:>22}" for key in found[0])
        print(f"{name:36}{steps:>7,}{evaluations:>13}{''.join(cells)}", flush=True)


def of_points(run: Run, sampling: Sampling, floor: float) -> dict[str, float]:
    """The distance over its floor."""
    held_out = run.dataset("test").x
    return {"distance / floor": by_lots(run.draw(len(held_out), sampling=sampling).x, held_out) / floor}


def floor(run: Run) -> float:
    """The distance of as many training points."""
    return by_lots(run.dataset("train").x, run.dataset("test").x)


def by_lots(x: Tensor, held_out: Tensor) -> float:
    """The mean sliced Wasserstein distance of lots of x from as many lots of held-out points."""
    return fmean(sliced_wasserstein(*lots) for lots in zip(x.split(LOT), held_out.split(LOT), strict=False))


def of_pictures(run: Run, sampling: Sampling) -> dict[str, float]:
    """The Frechet distance over its floor, what is read as asked, and coverage over the teacher's."""
    found = of_samples(run, PICTURES, sampling, "pictures", measures=NEEDED)
    return {
        "Frechet / floor": found["Frechet distance"].ratio,
        "read as asked": found["label accuracy"].value,
        "coverage": found["coverage"].value,
    }


if __name__ == "__main__":
    main()
