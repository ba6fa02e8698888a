"""Pictures restored by networks that are trained for it, and by one that is not.

    python -m benchmarks.conditional FOLDER [--task inpainting] [--steps 3000]

FOLDER holds pictures in folders by label, of which a tenth is held out: flowers (Nilsback and Zisserman 2006). For each
speed at which what is left of a picture diffuses beside it (`undiffuse.condition.diffused`: 0 is CDE, 1 CDiffE, between
CMDE), a small network is trained, all alike; and one without a task, which is guided by what is seen, in each of the
ways of `undiffuse.run.inverse`. All answer the same held-out pictures, `EACH` times. Beside them stands what needs no
network: bicubic enlarging, or the mean colour for a hole. By default it is short: what it says is then of networks that
are far from trained. Trainings are kept in --out, and not repeated.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from undiffuse.core.noise import SeededNoise
from undiffuse.core.operator import Averaged
from undiffuse.data.task import Inpainting, SuperResolution, left_of
from undiffuse.evaluate.answers import EACH, Answering, answer_rows, judged, rows_of
from undiffuse.measure.report import Row
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import own_data
from undiffuse.recipes.restored import restored
from undiffuse.run.folder import load
from undiffuse.run.given import Given, Told
from undiffuse.run.inverse import completed, seen
from undiffuse.run.run import Run
from undiffuse.train.loop import train

SPEEDS = {"CDE": 0.0, "CMDE, speed 0.1": 0.1, "CMDE, speed 0.5": 0.5, "CDiffE": 1.0}


def trained(recipe: Recipe, folder: Path) -> Run:
    """The run in a folder, trained if it is not."""
    return load(folder) if (folder / "model.safetensors").is_file() else train(recipe, folder, quiet=True)


def untrained(plain: Run, of: Run, by: str, seed: int, steps: int) -> Answering:
    """Answers of a run without the task, guided by what is seen in the way of a name."""
    how = plain.sampling.override(seed=seed, sampler="ddpm", steps=steps, guidance=1.0)
    nothing = dict.fromkeys(plain.specifications, "none")

    def answer(x: Tensor, each: int) -> Tensor:
        several, task = x.repeat_interleave(each, 0), of.task
        if isinstance(task, Inpainting):
            known = left_of(task, x, SeededNoise(seed))[:, -1:] == 1
            given: Told = completed(plain, Given(several, known.repeat_interleave(each, 0).expand(several.shape)), by)
        else:
            assert isinstance(task, SuperResolution)
            operator = Averaged(task.fewer)
            given = seen(plain, operator(several.float()), operator, by)
        return plain.draw(len(several), nothing, how, given).x.unflatten(0, (len(x), each))

    return answer


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", default="super-resolution", choices=("super-resolution", "inpainting"))
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--count", type=int, default=200, help="answers")
    parser.add_argument("--seeds", type=int, default=1, help="of samples")
    parser.add_argument("--ways", type=str, default="pigdm", help="of those that are not trained for it: a,b,c")
    parser.add_argument("--out", type=Path, default=Path("runs/conditional"))
    asked = parser.parse_args()

    plain = own_data(asked.data).changed(width=asked.width, steps=asked.steps, batch=16, flip=True, report_every=10**9)
    told = restored(plain, asked.task)
    folder = asked.out / asked.task
    runs = {name: trained(told.changed(speed=speed), folder / f"{speed:g}") for name, speed in SPEEDS.items()}
    without = trained(plain, asked.out / "without")
    some = next(iter(runs.values()))
    extract, test = judged(some), some.dataset("test")
    print(f"{asked.task}, {asked.steps} steps of width {asked.width}, {asked.count // EACH} held-out pictures")
    for seed in range(asked.seeds):
        for name, run in runs.items():
            show(name, seed, answer_rows(run, test, asked.count, replace(run.sampling, seed=seed), extract))
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
        x = test.x[order[: asked.count // EACH]]
        for by in asked.ways.split(","):
            show(by, seed, rows_of(some, x, untrained(without, some, by, seed, 50), seed, extract))


def show(name: str, seed: int, rows: Sequence[Row]) -> None:
    """A line."""
    numbers = "; ".join(f"{row.name} {row.value:.3g} ({row.floor:.3g})" for row in rows)
    print(f"{name:16} seed {seed}  {numbers}", flush=True)


if __name__ == "__main__":
    main()
