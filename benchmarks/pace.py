"""How long do recipes take? python -m benchmarks.pace [RECIPE ...] [--threads 2]

Times a few steps of each part of a training, the autoencoder's if there is one and the denoiser's, and prints what all
steps come to, in minutes, without reports and saving. On one thread these are of processor time, which is what a quiet
machine takes, and which other jobs beside it change little; on several, of the clock, which wants a quiet machine.
"""

import argparse
import time

import torch
from accelerate import Accelerator

from undiffuse.codec import TRAINED_FIRST
from undiffuse.codec.vae import precomputed
from undiffuse.data.dataset import Dataset
from undiffuse.recipe.recipe import Recipe
from undiffuse.recipes import RECIPES
from undiffuse.train.objective import Autoencoding, denoising
from undiffuse.train.trainer import Trainer

TRIED = 8  # steps that are timed
ENCODED = 1000  # rows, to time the second part by


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("recipes", nargs="*", default=["letters", "piano", "fashion-mnist", "shakespeare"])
    words.add_argument("--threads", type=int, default=1)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'':24} {'autoencoder':>22} {'denoiser':>22} {'minutes':>8}")
    for name in options.recipes:
        recipe = RECIPES[name]()
        first, second = paces(recipe)
        steps = recipe.codec.fit.steps if isinstance(recipe.codec, TRAINED_FIRST) else 0
        told = [
            f"{n:,} x {1000 * each:.0f} ms" if n else ""
            for n, each in ((steps, first), (recipe.training.steps, second))
        ]
        minutes = (steps * first + recipe.training.steps * second) / 60
        print(f"{name:24} {told[0]:>22} {told[1]:>22} {minutes:8.1f}", flush=True)


def paces(recipe: Recipe) -> tuple[float, float]:
    """Seconds a step of the autoencoder, 0 if there is none, and of the denoiser."""
    data, accelerator = recipe.data.open(), Accelerator()
    codec = recipe.codec.measure(data)
    if not isinstance(recipe.codec, TRAINED_FIRST):
        return 0.0, pace(Trainer(recipe, data, accelerator))
    fit = recipe.codec.fit
    first = recipe.changed(steps=fit.steps, batch=fit.batch, lr=fit.lr)
    trained = pace(Trainer(first, data, accelerator, Autoencoding(codec, fit, recipe.training.precision == "bf16")))
    conditions = None if data.conditions is None else data.conditions[:ENCODED]
    some = Dataset(precomputed(codec, data.x[:ENCODED]), conditions, data.specifications, kind="latents")
    return trained, pace(Trainer(recipe, some, accelerator, denoising(recipe, codec, data)))


def pace(trial: Trainer) -> float:
    """Seconds a step, after the first: of processor time on one thread, else of the clock."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    trial.step()
    start = now()
    for _ in range(TRIED):
        trial.step()
    return (now() - start) / TRIED


if __name__ == "__main__":
    main()
