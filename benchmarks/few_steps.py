"""How good is one evaluation, by every method at equal time? python -m benchmarks.few_steps [--recipe swiss-roll]

Trains a teacher by its recipe, and then each method of `undiffuse distill` for the same seconds (--seconds, 60), on 2
threads: the methods that need a teacher, and those that do not, which here begin with the teacher's weights too. Prints
the distance of samples of 1, 2 and 4 evaluations from held-out data over its floor (sliced Wasserstein of points,
Frechet distance of pictures with labels), the mean and the standard error over --seeds trainings, and below them the
teacher's best sampler at each count. Last, methods from scratch, for the seconds of teacher and student together.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from undiffuse.kind import compare
from undiffuse.loss.methods import METHODS
from undiffuse.measure.estimate import estimate
from undiffuse.recipe.model import FewSteps
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run.run import Run
from undiffuse.sampling.sampling import Sampling
from undiffuse.train.distill import student
from undiffuse.train.loop import train

EVALUATIONS = (1, 2, 4)
TRIED = 40  # steps that tell how long a step takes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default="swiss-roll", choices=sorted(RECIPES))
    parser.add_argument("--methods", default=",".join(METHODS), help="those of undiffuse distill, by name")
    parser.add_argument("--scratch", default="", help="of them, those to train from scratch too")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher-steps", type=int, help="fewer than the recipe's, to try this out")
    asked = parser.parse_args()
    torch.set_num_threads(2)
    recipe = quietly(RECIPES[asked.recipe]().changed(**{"steps": asked.teacher_steps} if asked.teacher_steps else {}))
    with tempfile.TemporaryDirectory() as folder:
        teacher = train(recipe, Path(folder) / "teacher", quiet=True)
        print(
            f"teacher: {teacher.step:,} steps in {teacher.seconds:.0f} s; over the floor at {EVALUATIONS} evaluations"
        )
        told("teacher", 0, [quality(teacher)])
        for name in filter(None, asked.methods.split(",")):
            row(name, teacher, asked.seconds, asked.seeds, Path(folder))
        for name in filter(None, asked.scratch.split(",")):
            row(name, teacher, asked.seconds + teacher.seconds, asked.seeds, Path(folder), scratch=True)


def row(name: str, teacher: Run, seconds: float, seeds: int, folder: Path, scratch: bool = False) -> None:
    """Print one method: over ``seeds`` trainings of about so many ``seconds`` each."""
    recipe = quietly(student(teacher, METHODS[name]()).changed(steps=TRIED))
    taught = None if scratch else teacher
    start = time.perf_counter()
    made(recipe, folder, taught)
    steps = max(TRIED, round(TRIED * seconds / (time.perf_counter() - start)))
    start = time.perf_counter()  # of enough steps, now that all is loaded
    made(recipe.changed(steps=max(TRIED, steps // 20)), folder, taught)
    steps = max(TRIED, round(max(TRIED, steps // 20) * seconds / (time.perf_counter() - start)))
    found = [quality(made(quietly(recipe.changed(steps=steps, seed=seed)), folder, taught)) for seed in range(seeds)]
    told(f"{name}, from scratch" if scratch else name, steps, found)


def quietly(recipe: Recipe) -> Recipe:
    """The recipe with one report and one save, at the end."""
    steps = recipe.training.steps
    return recipe.changed(report_every=steps, save_every=steps)


def made(recipe: Recipe, folder: Path, teacher: Run | None) -> Run:
    """The run, trained in a new folder."""
    return train(quietly(recipe), Path(tempfile.mkdtemp(dir=folder)) / "run", quiet=True, teacher=teacher)


def quality(run: Run) -> dict[int, float]:
    """The distance over its floor, by evaluations: a teacher's best sampler's, a student's own."""
    own = [run.sampling.sampler] if isinstance(run.recipe.model, FewSteps) else None
    counts = [count for count in EVALUATIONS if run.most is None or count <= run.most]
    found = compare(run, own, counts, seeds=1, sampling=Sampling(guidance=run.sampling.guidance))
    best: dict[int, float] = {}
    for trial in found.trials:
        over = trial.estimate.mean / found.floor.median
        best[trial.asked] = min(over, best.get(trial.asked, over))
    return best


def told(name: str, steps: int, found: list[dict[int, float]]) -> None:
    """One line of the table."""
    cells = []
    for count in EVALUATIONS:
        values = [one[count] for one in found if count in one]
        cells.append(f"{estimate(values)!s:>16}" if values else f"{'-':>16}")
    print(f"{name:36} {steps:7,} steps {''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
