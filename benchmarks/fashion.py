"""Shirts and shoes at equal time: python -m benchmarks.fashion [--minutes 20]

Trains `fashion-mnist` (pixels, folded), `fashion-mnist-latent` and `fashion-mnist-ddpm` (pixels, as in 2020) for so
many minutes each on the threads given, or takes runs (--run FOLDER), and prints, for the same labels: the share that a
classifier reads as asked, and the Frechet distance on its features to as many held-out pictures, beside what as many
training pictures get. The classifier is trained here, once, on the real training pictures.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from undiffuse.codec import Standard
from undiffuse.data.known import known
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.judge import Judge
from undiffuse.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run import Run, load
from undiffuse.train.loop import train
from undiffuse.train.trainer import Trainer

NAMES = ("fashion-mnist", "fashion-mnist-latent", "fashion-mnist-ddpm")
TRIED = 8  # steps that are timed


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--minutes", type=float, default=20.0)
    words.add_argument("--only", nargs="*", default=NAMES)
    words.add_argument("--run", nargs="*", help="runs to measure, instead of training")
    words.add_argument("--count", type=int, default=1000)
    words.add_argument("--threads", type=int, default=2)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.run:
            runs = [load(path) for path in options.run]
        else:
            recipes = {name: timed(RECIPES[name](), options.minutes) for name in options.only}
            runs = [train(recipe, Path(folder) / name, quiet=True) for name, recipe in recipes.items()]
        measure(runs, options.count)


def timed(recipe: Recipe, minutes: float) -> Recipe:
    """The recipe with as many steps as fit; that of latents as it is, since it is in two parts."""
    if not isinstance(recipe.codec, Standard):
        return recipe
    trial = Trainer(replace(recipe, steps=1000), recipe.data.open(), Accelerator())
    trial.step()
    start = time.perf_counter()
    for _ in range(TRIED):
        trial.step()
    each = (time.perf_counter() - start) / TRIED
    steps = max(10, int(60 * minutes / each))
    return replace(recipe, steps=steps, save_every=steps, report_every=steps)


def measure(runs: list[Run], count: int) -> None:
    real, held_out = known("fashion-mnist"), known("fashion-mnist", split="test")
    judge = Judge.train(real.x, real.labels, held_out.x, held_out.labels)
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:count]
    theirs, labels = judge.features(held_out.x[order]), held_out.labels[order]
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:count]
    floor = frechet_distance(judge.features(real.x[some]), theirs)
    print(f"{count} pictures each; the judge is {judge.accuracy:.1%} right on held-out ones")
    print(f"{'':22} {'as asked':>9} {'Frechet':>9} {'of floor':>9} {'steps':>8} {'seconds':>8}  sampled by")
    print(f"{'real pictures':22} {judge.accuracy:9.1%} {floor:9.2f} {1:9.2f}")
    for run in runs:
        x = run.sample(count, label=labels)
        right = float((judge.predict(x) == labels).double().mean())
        distance = frechet_distance(judge.features(x), theirs)
        recipe = run.recipe
        how = f"{recipe.sampler}, {recipe.sampling_steps} steps, guidance {recipe.guidance:g}"
        print(
            f"{run.folder.name:22} {right:9.1%} {distance:9.2f} {distance / floor:9.2f} {run.step:8,} "
            f"{run.seconds:8.0f}  {how}"
        )


if __name__ == "__main__":
    main()
