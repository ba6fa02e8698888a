"""Shirts and shoes at equal time: python -m benchmarks.fashion [--minutes 20]

Trains `fashion-mnist` (pixels, folded), `fashion-mnist-latent` and `fashion-mnist-ddpm` (pixels, as in 2020) for so
many minutes each, of processor time of one thread, or takes runs (--run FOLDER), and prints, for the same labels: the
share that a classifier reads as their label, and the Frechet distance on its features to as many held-out pictures,
beside what as many training pictures get. Samples take 20 evaluations of dpm++2m; guidance is each recipe's. The
classifier is trained here, once, on the real training pictures. Runs are kept in --out.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.pace import paces
from undiffuse.codec import ConvVAE
from undiffuse.data.readers.well_known import known
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.judge import Judge
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.run.folder import load
from undiffuse.run.run import Run
from undiffuse.train.loop import train

NAMES = ("fashion-mnist", "fashion-mnist-latent", "fashion-mnist-ddpm")
EVALUATIONS = 20  # of dpm++2m, for every run


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--minutes", type=float, default=20.0)
    words.add_argument("--only", nargs="*", default=NAMES)
    words.add_argument("--run", nargs="*", help="runs to measure, instead of training")
    words.add_argument("--count", type=int, default=1000)
    words.add_argument("--out", type=Path, default=Path("runs/fashion-study"), help="for runs")
    options = words.parse_args()
    torch.set_num_threads(1)
    if options.run:
        runs = [load(path) for path in options.run]
    else:
        recipes = {name: timed(RECIPES[name](), options.minutes) for name in options.only}
        runs = [train(recipe, options.out / name, quiet=True) for name, recipe in recipes.items()]
    measure(runs, options.count)


def timed(recipe: Recipe, minutes: float) -> Recipe:
    """The recipe with as many steps as fit; where an autoencoder comes first, it has a third of the time."""
    first, second = paces(recipe)
    if not isinstance(recipe.codec, ConvVAE):
        return lasting(recipe, 60 * minutes / second)
    fit = replace(recipe.codec.fit, steps=int(20 * minutes / first))
    return lasting(recipe.changed(codec=replace(recipe.codec, fit=fit)), 40 * minutes / second)


def lasting(recipe: Recipe, steps: float) -> Recipe:
    """With so many steps, no reports on the way, which take time, and sampled as all are."""
    often = {"steps": int(steps), "save_every": int(steps), "report_every": int(steps)}
    return recipe.changed(**often, sampler="dpm++2m", sampling_steps=EVALUATIONS)


def measure(runs: list[Run], count: int) -> None:
    real, held_out = known("fashion-mnist"), known("fashion-mnist", split="test")
    judge = Judge.train(real.x, real.labels, held_out.x, held_out.labels)
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:count]
    theirs, labels = judge.features(held_out.x[order]), held_out.labels[order]
    some = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:count]
    floor = frechet_distance(judge.features(real.x[some]), theirs)
    print(f"{count} pictures each; the judge is {judge.accuracy:.1%} right on held-out ones")
    print(f"{'':22} {'accuracy':>9} {'Frechet':>9} {'of floor':>9} {'steps':>8} {'seconds':>8} {'guidance':>9}")
    print(f"{'real pictures':22} {judge.accuracy:9.1%} {floor:9.2f} {1:9.2f}")
    for run in runs:
        x = run.sample(count, label=labels, sampler="dpm++2m", steps=EVALUATIONS)
        right = float((judge.predict(x) == labels).double().mean())
        distance = frechet_distance(judge.features(x), theirs)
        print(
            f"{run.folder.name:22} {right:9.1%} {distance:9.2f} {distance / floor:9.2f} {run.step:8,} "
            f"{run.seconds:8.0f} {run.recipe.sampling.guidance.weight or 1:9g}",
            flush=True,
        )


if __name__ == "__main__":
    main()
